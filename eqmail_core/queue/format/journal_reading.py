"""Reads a segment of the queue's journal: every intact record, and the damaged ranges.

Fails: never; unreadable data is reported as damage.
"""

import re
from zlib import crc32

from eqmail_core.queue.format.journal import (
    CHECKSUM,
    HEAD,
    HEADER,
    HEADER_SIZE,
    IN_FILE,
    LINK,
    LINK_BITS,
    OVERHEAD,
    RECORD,
    TOMBSTONES,
    JournalEntry,
    split_header,
)

# What follows the checksum of a record: kind and link, lengths below 16 MB.
_CANDIDATE = re.compile(rb"[RFT](?=.{6}\0.{3}\0)", re.DOTALL)


class Damage:
    """Bytes from `start` to `end` that should have been records.

    `is_certain`: they were on the disk, because a later commit follows; otherwise a crash may have cut them short.
    `is_read`: only a header or a checksum is damaged, and what it belongs to was read all the same.
    """

    __slots__ = ("end", "is_certain", "is_read", "start")

    def __init__(self, start: int, end: int, is_certain: bool = False, is_read: bool = False) -> None:
        self.start = start
        self.end = end
        self.is_certain = is_certain
        self.is_read = is_read


class Reading:
    """The content of a segment: `entries` in order, and its damaged ranges."""

    __slots__ = ("damages", "entries", "epoch", "next_serial")

    def __init__(self, epoch: int, next_serial: int) -> None:
        self.epoch = epoch
        self.next_serial = next_serial
        self.entries: list[JournalEntry] = []
        self.damages: list[Damage] = []

    @property
    def is_damaged(self) -> bool:
        """Whether something that was on the disk is damaged."""
        return any(damage.is_certain for damage in self.damages)


def read(data: memoryview, nearby: int = 0) -> Reading | None:
    """Return every intact record of a segment; None if it shows no sign of use.

    `nearby`: the epoch of another segment, for one whose own header is damaged.
    """
    known: tuple[int, int, int | None] | None = split_header(data)
    is_damaged = known is None
    if known is None:
        known = _guess_header(data, nearby)
    if known is None:
        return None
    reading = Reading(known[0], known[1])
    if is_damaged:
        reading.damages.append(Damage(0, HEADER_SIZE, is_certain=True, is_read=True))
    _walk(data, known[2], reading)
    return reading


def _walk(data: memoryview, crc: int | None, reading: Reading) -> None:
    """Read one record after the other; after damaged ones, find the next intact one."""
    position, epoch = HEADER_SIZE, reading.epoch
    while True:
        record = _at(data, position)
        if record is not None and crc is None:
            crc = record.before(epoch)
        if record is not None and crc is not None:
            chained = crc32(record.text, crc)
            if chained == record.stored:
                _take(reading, record)
                position, crc = record.end, chained
                continue
            follower = _at(data, record.end)
            if follower is not None and crc32(follower.text, chained) == follower.stored:
                # Only its checksum is damaged, as the record after it proves.
                reading.damages.append(Damage(position, position + CHECKSUM.size, is_read=True))
                _take(reading, record)
                position, crc = record.end, chained
                continue
        found = _next_intact(data, position, record.end if record is not None else 0, epoch)
        if found is None:
            if crc is not None and _is_begun(data, position, crc, epoch):
                reading.damages.append(Damage(position, record.end if record is not None else len(data)))
            return
        reading.damages.append(Damage(position, found[0]))
        position, crc = found


def _take(reading: Reading, found: "_Record") -> None:
    if found.begins:
        for damage in reading.damages:
            damage.is_certain = True
    reading.entries.append(found.entry())


class _Record:
    """Bytes that have the form of a record; `text` is what its checksum covers."""

    __slots__ = ("begins", "data", "end", "fields", "kind", "link", "start", "stored", "text")

    def __init__(self, data: memoryview, start: int) -> None:
        self.stored = _number(data, start)
        tag, *self.fields = HEAD.unpack_from(data, start + CHECKSUM.size)
        self.data = data
        self.start = start
        self.kind = bytes((tag & 0xFF,))
        self.link: int = tag >> 8 & LINK
        self.begins = bool(tag >> 31)
        self.end: int = start + OVERHEAD + self.fields[0] + self.fields[1]
        self.text = data[start + CHECKSUM.size : self.end]

    def entry(self) -> JournalEntry:
        """Return its parsed content."""
        envelope_size, _, serial, number, birth, uid, qp = self.fields
        body = self.start + OVERHEAD + envelope_size
        envelope = bytes(self.data[self.start + OVERHEAD : body])
        return JournalEntry(self.kind, serial, number, birth, uid, qp, envelope, self.data[body : self.end])

    def before(self, epoch: int) -> int | None:
        """Return the checksum that it continues, if it belongs to this epoch.

        A checksum is linear in that.
        """
        low = (self.link ^ epoch) & LINK
        base = crc32(self.text, low)
        sums = [0]
        for bit in range(LINK_BITS, 32):
            step = crc32(self.text, low | 1 << bit) ^ base
            sums += [value ^ step for value in sums]
        wanted = base ^ self.stored
        return low | sums.index(wanted) << LINK_BITS if wanted in sums else None


def _number(data: memoryview, position: int) -> int:
    number: int = CHECKSUM.unpack_from(data, position)[0]
    return number


def _at(data: memoryview, start: int) -> _Record | None:
    if start + OVERHEAD > len(data):
        return None
    record = _Record(data, start)
    return record if record.end <= len(data) else None


def _is_begun(data: memoryview, position: int, crc: int, epoch: int) -> bool:
    """Return whether the writing of a record began here."""
    if position + OVERHEAD > len(data):
        return False
    tag = _number(data, position + CHECKSUM.size)
    return bytes((tag & 0xFF,)) in (RECORD, IN_FILE, TOMBSTONES) and tag >> 8 & LINK == (crc ^ epoch) & LINK


def _candidate(data: memoryview, start: int) -> _Record | None:
    """Return the next range that looks like a record."""
    position = start + CHECKSUM.size
    while (match := _CANDIDATE.search(data, position)) is not None:
        position = match.start() + 1
        record = _at(data, match.start() - CHECKSUM.size)
        if record is not None:
            return record
    return None


def _next_intact(data: memoryview, position: int, expected: int, epoch: int) -> tuple[int, int] | None:
    """Return where the next record of this epoch begins after `position`, and the checksum before it.

    `expected`: its expected position. Bodies are searched only if it is not there.
    """
    record = _at(data, expected) if expected else None
    before = record.before(epoch) if record is not None else None
    if record is not None and before is not None:
        return record.start, before
    position += 1
    while (record := _candidate(data, position)) is not None:
        old = _epoch_behind(data, record)
        if old is not None and old != epoch & LINK:
            # Records of an earlier use: skip them one by one.
            position = record.end
            continue
        before = record.before(epoch)
        if before is not None:
            return record.start, before
        position = record.start + 1
    return None


def _epoch_behind(data: memoryview, found: _Record) -> int | None:
    """Return the epoch that the record after this one implies; None if it does not continue this one."""
    follower = _at(data, found.end)
    if follower is None or crc32(follower.text, found.stored) != follower.stored:
        return None
    return (follower.link ^ found.stored) & LINK


def _guess_header(data: memoryview, nearby: int) -> tuple[int, int, int | None] | None:
    """Return epoch, a serial and perhaps the checksum of a damaged header.

    They are derived from the records after it.
    """
    first = _at(data, HEADER_SIZE)
    if first is not None:
        for crc in (_number(data, HEADER.size), crc32(data[: HEADER.size])):
            if first.link and crc32(first.text, crc) == first.stored:
                return _nearest((first.link ^ crc) & LINK, nearby), 1, crc
    position = 0
    while (record := _candidate(data, position)) is not None:
        low = _epoch_behind(data, record)
        if low is not None:
            return _nearest(low, nearby), 1, None
        position = record.start + 1
    return None


def _nearest(low: int, nearby: int) -> int:
    """Return the epoch with these low bits that is nearest to another."""
    base = nearby & ~LINK | low
    epochs: list[int] = [epoch for epoch in (base - LINK - 1, base, base + LINK + 1) if epoch >= 0]
    return min(epochs, key=lambda item: abs(item - nearby))
