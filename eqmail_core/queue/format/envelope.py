"""Envelopes as qmail-queue reads them.

An envelope on a pipe is F sender NUL, T recipient NUL for each recipient, and one more NUL. What follows is ignored,
except for one record of DSN parameters (eqmail_core/dsn/parameters.py).

Source: queue.md 3.3, 3.5; qmail-queue(8).
"""

from eqmail_core.dsn.parameters import with_dsn
from eqmail_core.mail.address import MAX_ADDRESS
from eqmail_core.queue.format.exit_codes import ADDRESS_TOO_LONG, BAD_ENVELOPE, OK, READ_ERROR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DSN = 16 << 20
"""Longest record of DSN parameters that is read, in bytes."""

DSN_TIMEOUT_S = 0.1
"""Longest wait for DSN parameters after an envelope whose writer does not close the pipe."""

_SENDER = 70
_RECIPIENT = 84


def scan_envelope(data: bytes | bytearray, position: int = 0) -> tuple[int, int]:
    """Check an envelope from `position`, 0 or what an earlier call returned.

    More bytes may have come since.

    Returns the exit code of qmail-queue and a position: OK and the end of the last record (of the envelope without its
    final NUL), READ_ERROR and the start of the first record that is not complete, or what is wrong.
    """
    if position == 0:
        if not data:
            return READ_ERROR, 0
        if data[0] != _SENDER:
            return BAD_ENVELOPE, 0
    size = len(data)
    while position < size:
        lead = data[position]
        if position and lead != _RECIPIENT:
            return (BAD_ENVELOPE, position) if lead else (OK, position)
        end = data.find(0, position + 1)
        if (end if end >= 0 else size) - position - 1 > MAX_ADDRESS:
            return ADDRESS_TOO_LONG, position
        if end < 0:
            break
        position = end + 1
    return READ_ERROR, position


def read_envelope(read: "Callable[[], bytes]", has_more: "Callable[[], bool]") -> tuple[int, bytes]:
    """Return the exit code of qmail-queue and, with OK, the envelope as the queue stores it.

    `read` returns the next piece, b"" at the end.  An envelope ends with its final NUL, and its writer need not close
    the pipe then. So DSN parameters are read only while `has_more`; without them nothing is read after the NUL.
    """
    data, position = bytearray(), 0
    while piece := read():
        data += piece
        code, position = scan_envelope(data, position)
        if code == OK:
            while _may_have_dsn(data, position + 1) and has_more() and (piece := read()):
                data += piece
            return OK, with_dsn(data, position)
        if code != READ_ERROR:
            return code, b""
    return READ_ERROR, b""


def _may_have_dsn(data: bytearray, start: int) -> bool:
    """Return whether DSN parameters that begin at `start` may be incomplete or still to come."""
    if bytes(data[start : start + 1]) not in (b"", b"W"):
        return False
    return len(data) - start < MAX_DSN and data.find(0, start) < 0
