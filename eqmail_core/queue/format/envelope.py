"""Envelopes: as qmail-queue reads them, and as todo/ and intd/ store them.

An envelope on a pipe is F sender NUL, T recipient NUL for each recipient, and one more NUL. What follows is ignored,
except for one record of DSN parameters (eqmail_core/dsn/parameters.py).
A todo file is u uid NUL, p pid NUL and the same records without the last NUL. The DSN parameters follow the pid and a
blank; C skips them, because it reads no further than the digits. A blank and BIRTH.MARK follow the uid (see
`format.info`), if the message was in the journal first: deliveries made from there keep their names.

Source: queue.md 3.3, 3.5; qmail-queue(8).
"""

from eqmail_core.dsn.parameters import split_dsn, with_dsn
from eqmail_core.mail.address import MAX_ADDRESS
from eqmail_core.queue.format.exit_codes import ADDRESS_TOO_LONG, BAD_ENVELOPE, OK, READ_ERROR
from eqmail_core.text.lines import MAX_DIGITS

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


def split_envelope(envelope: bytes) -> tuple[bytes, list[bytes]]:
    """Return sender and recipients of a checked envelope.

    The envelope may have its final NUL and what follows that.
    """
    records = split_dsn(envelope)[0].split(b"\0")
    return records[0][1:], [record[1:] for record in records[1:-1]]


def render_todo(uid: int, pid: int, envelope: bytes, born: bytes = b"") -> bytes:
    """Return a todo file.

    `envelope`: as the queue stores it, with its DSN parameters; `born`: as in `born_text`.
    """
    records, dsn = split_dsn(envelope)
    return b"u%d%b\0p%d%b\0%b" % (uid, b" " + born if born else b"", pid, b" " + dsn if dsn else b"", records)


def born_text(birth: int, mark: int) -> bytes:
    """Render the birth of a message, in seconds, and its mark."""
    return b"%d.%d" % (birth, mark)


def parse_born(text: bytes) -> tuple[int, int]:
    """Return birth and mark of a `born_text`; zeros for any other text."""
    birth, _, mark = text.partition(b".")
    if birth.isdigit() and mark.isdigit() and len(birth) <= MAX_DIGITS and len(mark) < 10:
        return int(birth), int(mark)
    return 0, 0


class Todo:
    """The content of a todo file: origin (`uid`, `pid`), sender and recipients, in order.

    `dsn`: the record of DSN parameters, b"" for none.
    """

    __slots__ = ("dsn", "pid", "recipients", "sender", "uid")

    def __init__(self, uid: int, pid: int, sender: bytes, recipients: list[bytes], dsn: bytes = b"") -> None:
        self.uid = uid
        self.pid = pid
        self.sender = sender
        self.recipients = recipients
        self.dsn = dsn


class BadTodo(ValueError):
    """A todo file with a record of unknown type, without a sender, or cut off."""


def parse_todo(text: bytes) -> Todo:
    """Parse a todo file; u and p may be absent (0).

    Fails: BadTodo.
    """
    records = text.split(b"\0")
    if records.pop():
        raise BadTodo("the last record is not complete")
    uid = pid = 0
    sender = None
    dsn = b""
    recipients = []
    for record in records:
        letter, value = record[:1], record[1:]
        if letter == b"T":
            recipients.append(value)
        elif letter == b"F":
            sender = value
        elif letter == b"u":
            uid = _number(value.partition(b" ")[0])
        elif letter == b"p":
            digits, _, dsn = value.partition(b" ")
            pid = _number(digits)
        else:
            raise BadTodo("unknown record type")
    if sender is None:
        raise BadTodo("no sender")
    return Todo(uid, pid, sender, recipients, dsn)


def _number(value: bytes) -> int:
    if not value.isdigit() or len(value) > MAX_DIGITS:
        raise BadTodo("not a number")
    return int(value)
