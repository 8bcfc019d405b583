"""A message of the database while this process has it.

`envelope`: as the queue stores it, with its DSN parameters, never changed.  `done`: a bit for each recipient, in the
order of the envelope, the lowest bit of a byte first.  `due`: seconds since the epoch for each channel, None where no
recipient is left.  `replies`: as in queue/format/replies.py.  `bounce`: reports of failed recipients so far.
"""

from typing import NamedTuple


class Deferral(NamedTuple):
    """The result of an attempt: written back to the database, for the next node."""

    number: int
    due: tuple[int | None, int | None]
    home: int
    done: bytes
    replies: bytes
    bounce: bytes
    is_held: bool
    warned: bool = False


class WholeMessage(NamedTuple):
    """A message with all that is worth keeping in a directory."""

    id: int
    birth: int
    due: int
    due_local: int | None
    due_remote: int | None
    is_held: bool
    envelope: bytes
    done: bytes
    bounce: bytes
    warned: bool
    body: bytes | None
    chunks: int


class Claimed(NamedTuple):
    """A waiting message that this node has taken, column by column; `body`: None where it is in chunks."""

    id: int
    birth: int
    uid: int
    qp: int
    size: int
    attempts: int
    due_local: int | None
    due_remote: int | None
    home: int
    envelope: bytes
    done: bytes
    replies: bytes
    bounce: bytes
    warned: bool
    body: bytes | None
    chunks: int
