"""A message of the database while this process has it.

`envelope`: as the queue stores it, with its DSN parameters, never changed.  `done`: a bit for each recipient, in the
order of the envelope, the lowest bit of a byte first.  `due`: seconds since the epoch for each channel, None where no
recipient is left.  `replies`: what the last attempt got, for people.  `bounce`: reports of failed recipients so far.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple


class Deferral(NamedTuple):
    """What an attempt left: written back to the database, for whoever is next."""

    number: int
    due: tuple[int | None, int | None]
    home: int
    done: bytes
    replies: bytes
    bounce: bytes
    is_held: bool


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
    body: bytes | None
    chunks: int


def pack_done(indexes: Iterable[int], recipients: int) -> bytes:
    """Return the bits of finished recipients; empty if there are none."""
    bits = bytearray((recipients + 7) // 8)
    for index in indexes:
        bits[index >> 3] |= 1 << (index & 7)
    return bytes(bits) if any(bits) else b""


def unpack_done(bits: bytes) -> Collection[int]:
    """Return the indexes of finished recipients."""
    return {index for index in range(len(bits) * 8) if bits[index >> 3] >> (index & 7) & 1}
