"""The checkpassword interface: three NUL-terminated fields on descriptor 3.

Source: smtp-server.md 4.6; cr.yp.to/checkpwd/interface.html.
"""

from eqmail_core.auth.credentials import Credentials
from eqmail_core.text.framing import fields

DESCRIPTOR = 3

MAX_BYTES = 512
"""Most bytes that a checker reads; more is misuse."""

ACCEPTED, REFUSED, MISUSED = 0, 1, 2
"""Exit codes of a checker; 111 is a temporary failure."""


def parse_credentials(data: bytes) -> Credentials | None:
    """Parse the bytes of the descriptor; None if they are misuse.

    `password` is a password, or with a challenge perhaps its digest; the method is not stated.
    The challenge may be missing; bytes after it are ignored.
    """
    parts = fields(data)
    if len(data) > MAX_BYTES or len(parts) < 2:
        return None
    return Credentials(b"", parts[0], parts[1], parts[2] if len(parts) > 2 else b"")


CHECKER_CRASHED, NO_CHILD, NO_PIPE, NO_WRITE = -1, -2, -3, -4
"""Outcomes of a password check that are not exit codes."""
