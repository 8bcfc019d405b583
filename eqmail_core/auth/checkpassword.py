"""What a password checker reads on descriptor 3: three fields that end in NUL, no more than 512 bytes.

Source: smtp-server.md 4.6; cr.yp.to/checkpwd/interface.html.
"""

from eqmail_core.text.framing import fields

DESCRIPTOR = 3

MAX_BYTES = 512
"""What a checker reads at most; more is misuse."""

ACCEPTED, REFUSED, MISUSED = 0, 1, 2
"""Exit codes of a checker; 111 is trouble that may pass."""


class Claim:
    """What a client says about itself: `response` is a password, or the digest of `challenge` and a password."""

    __slots__ = ("challenge", "response", "user")

    def __init__(self, user: bytes, response: bytes, challenge: bytes) -> None:
        self.user = user
        self.response = response
        self.challenge = challenge


def parse_claim(data: bytes) -> Claim | None:
    """The claim in the bytes of the descriptor; None where this is misuse.

    The challenge may be missing; what follows it belongs to nobody.
    """
    parts = fields(data)
    if len(data) > MAX_BYTES or len(parts) < 2:
        return None
    return Claim(parts[0], parts[1], parts[2] if len(parts) > 2 else b"")


CHECKER_CRASHED, NO_CHILD, NO_PIPE, NO_WRITE = -1, -2, -3, -4
"""Outcomes of CheckPassword that are no exit codes."""
