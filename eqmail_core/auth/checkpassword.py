"""The checkpassword interface: three NUL-terminated fields on descriptor 3.

Source: smtp-server.md 4.6; cr.yp.to/checkpwd/interface.html.
"""

from eqmail_core.text.framing import fields

DESCRIPTOR = 3

MAX_BYTES = 512
"""Most bytes that a checker reads; more is misuse."""

ACCEPTED, REFUSED, MISUSED = 0, 1, 2
"""Exit codes of a checker; 111 is a temporary failure."""


class Claim:
    """A client's login: `response` is a password, or the digest of `challenge` and a password."""

    __slots__ = ("challenge", "response", "user")

    def __init__(self, user: bytes, response: bytes, challenge: bytes) -> None:
        self.user = user
        self.response = response
        self.challenge = challenge


def parse_claim(data: bytes) -> Claim | None:
    """Parse the bytes of the descriptor; None if they are misuse.

    The challenge may be missing; bytes after it are ignored.
    """
    parts = fields(data)
    if len(data) > MAX_BYTES or len(parts) < 2:
        return None
    return Claim(parts[0], parts[1], parts[2] if len(parts) > 2 else b"")


CHECKER_CRASHED, NO_CHILD, NO_PIPE, NO_WRITE = -1, -2, -3, -4
"""Outcomes of a password check that are not exit codes."""
