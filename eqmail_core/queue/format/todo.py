"""The files todo/N and intd/N: origin and envelope of a message that was not preprocessed yet.

A todo file is u uid NUL, p pid NUL and the records of the envelope (`mail.envelope`). The DSN parameters follow the pid
and a blank; C skips them, because it reads no further than the digits. A blank and BIRTH.MARK follow the uid (see
`mail.message_identity`), if the message was in the journal first: deliveries made from there keep their names.

Source: queue.md 3.3.
"""

from eqmail_core.mail.envelope import Envelope, split_dsn
from eqmail_core.text.lines import MAX_DIGITS


def render_todo(uid: int, pid: int, envelope: bytes, born: bytes = b"") -> bytes:
    """Return a todo file.

    `envelope`: as the queue stores it, with its DSN parameters; `born`: as in `MessageIdentity.born_text`.
    """
    records, dsn = split_dsn(envelope)
    return b"u%d%b\0p%d%b\0%b" % (uid, b" " + born if born else b"", pid, b" " + dsn if dsn else b"", records)


class Todo:
    """The content of a todo file: origin (`uid`, `pid`) and envelope."""

    __slots__ = ("envelope", "pid", "uid")

    def __init__(self, uid: int, pid: int, envelope: Envelope) -> None:
        self.uid = uid
        self.pid = pid
        self.envelope = envelope


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
    return Todo(uid, pid, Envelope(sender, recipients, dsn))


def _number(value: bytes) -> int:
    if not value.isdigit() or len(value) > MAX_DIGITS:
        raise BadTodo("not a number")
    return int(value)
