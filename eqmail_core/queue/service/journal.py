"""The queue's journal: accepted messages until they are delivered or have become files.

The journal is a ring of segments, files of one size filled with zeros beforehand. So writing into them changes nothing
but data. `commit` may run in a thread of its own; everything else runs in one other thread.

Why no message is lost, and no ended message returns:
- `commit` returns after the flush; what it wrote is valid only after everything written before
  (queue/format/journal.py).
- Only the oldest segment is reused, and only when none of its messages is needed. So a tombstone is erased no sooner
  than its record, which is in the same or an older segment.
- The reuse of a segment begins with a header of a new epoch, flushed before anything else is written there. From then
  on none of the old records is valid. Otherwise a tombstone could be overwritten before its record.
- The last part of a segment is reserved for tombstones. So a disk without room for another segment does not keep the
  oldest from becoming free.
- After a start nothing is appended to what was found: its tail may be torn.
- After a failed flush nothing is written after the existing content: the system may have dropped the data, and the
  next flush would not report it. A segment that the failed commit began is begun again, under a new epoch. Any other
  is suspect: its messages are recorded again, and then it is removed.
- A segment with damaged records is read as far as it is intact, before and after them. It is suspect too, and is kept
  under another name instead of being removed.

Long because the proof above covers all of it.

Fails: OSError; a failed `commit` may have written its records all the same, so the caller must commit their tombstones
later.
"""

import os
from collections import deque

from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.format import journal as form
from eqmail_core.queue.format.journal_damage import Damaged, find_damage
from eqmail_core.queue.format.journal_reading import Reading, read
from eqmail_core.queue.service.accepted_message import AcceptedMessage
from eqmail_core.queue.service.journal_segment import DAMAGED_PREFIX, NEW_PREFIX, SEGMENT_PREFIX, Segment
from eqmail_core.queue.spool import remove

SEGMENT_SIZE = 16 << 20
LEAST_SEGMENTS = 2

MAX_KEPT = 4
"""Damaged segments that are kept, at most; further ones are removed."""

_ZEROS = bytes(1 << 20)
_MAX_TOMBSTONES = 4096


class Journal:
    """The ring in `folder`; call `replay` first; `damaged` lists what it could not read.

    `epoch`: start value of a new journal; it must be unpredictable, so that no message body can pass for a record.
    """

    def __init__(self, disk: FileSystem, folder: str, size: int = SEGMENT_SIZE, epoch: int = 0) -> None:
        self.next_serial = 1
        self.damaged: list[Damaged] = []
        self._disk = disk
        self._folder = folder
        self._size = size
        self._reserve = size // 32
        self._segments: deque[Segment] = deque()
        self._current: Segment | None = None
        self._epoch = epoch
        # Position of the next byte in the current segment (0: its header is still unwritten), and the data for it.
        self._position = 0
        self._crc = 0
        self._pieces: list[bytes | bytearray | memoryview] = []
        self._start = 0
        self._begins = False
        self._nearby = 0

    @property
    def epoch(self) -> int:
        """The epoch of the newest segment; it grows by one with every reuse."""
        return self._epoch

    def is_longer_than_needed(self, weight: int) -> bool:
        """Return whether the ring is longer than `weight` bytes of needed messages justify."""
        return len(self._segments) > LEAST_SEGMENTS + 4 * weight // self._size

    def replay(self, least_serial: int) -> list[AcceptedMessage]:
        """Return the messages without a tombstone, ordered by serial.

        New ones get serials from `least_serial` on.

        Flushes what it finds first: a process may have died between writing and flushing.
        """
        found: list[tuple[Segment, Reading]] = []
        for path, data, fd in self._contents():
            self._note(path, fd, data, read(data, self._nearby), found)
        found.sort(key=lambda item: item[0].epoch)
        live: dict[int, AcceptedMessage] = {}
        for segment, reading in found:
            self._segments.append(segment)
            self._epoch = segment.epoch
            self.next_serial = max(self.next_serial, reading.next_serial)
            for entry in reading.entries:
                if entry.kind == form.TOMBSTONES:
                    for serial in form.split_tombstones(entry.body):
                        live.pop(serial, None)
                else:
                    live[entry.serial] = _message(entry, segment)
                    self.next_serial = max(self.next_serial, entry.serial + 1)
        for message in live.values():
            if message.segment is not None:
                message.segment.recorded += 1
        self.next_serial = max(self.next_serial, least_serial)
        return [live[serial] for serial in sorted(live)]

    def prepare(self) -> None:
        """Create the segments that every journal has, so that they exist before the disk fills up."""
        while len(self._segments) < LEAST_SEGMENTS:
            oldest = self._segments[0].epoch if self._segments else self._epoch + 1
            self._segments.appendleft(self._create_segment(max(0, oldest - 1)))

    def commit(self, messages: list[AcceptedMessage], ended: list[int]) -> list[tuple[AcceptedMessage, Segment]]:
        """Write and flush records of these messages, then tombstones for these serials.

        The result names the segment of each record; pass it to `is_recorded`.
        """
        saved = self._current, self._position, self._crc, self._start
        is_flushing = False
        self._begins = True
        placed: list[tuple[AcceptedMessage, Segment]] = []
        touched: list[Segment] = []
        try:
            for message in messages:
                kind, body = form.RECORD, message.body
                if body is None:
                    kind, body = form.IN_FILE, form.in_file(message.size, message.crc)
                segment = self._room(form.OVERHEAD + len(message.envelope) + len(body) + self._reserve, touched)
                head, self._crc = form.record(
                    kind,
                    message.serial,
                    message.number,
                    message.birth,
                    message.uid,
                    message.qp,
                    message.envelope,
                    body,
                    self._crc,
                    self._epoch,
                    self._begins,
                )
                self._begins = False
                self._pieces += (head, body)
                self._position += len(head) + len(body)
                segment.recorded += 1
                placed.append((message, segment))
            for index in range(0, len(ended), _MAX_TOMBSTONES):
                some = ended[index : index + _MAX_TOMBSTONES]
                self._room(form.OVERHEAD + 8 * len(some), touched)
                block, self._crc = form.tombstones(some, self._crc, self._epoch, self._begins)
                self._begins = False
                self._pieces.append(block)
                self._position += len(block)
            self._write_out(touched)
            is_flushing = True
            for segment in touched:
                self._disk.sync_data(segment.fd)
        except OSError:
            for _, segment in placed:
                segment.recorded -= 1
            self._pieces = []
            self._go_back(saved, is_flushing)
            raise
        return placed

    def is_recorded(self, message: AcceptedMessage, segment: Segment) -> None:
        """Note that the record of `message` is now in `segment`; an earlier record is not needed any more."""
        self.release(message)
        message.segment = segment

    def release(self, message: AcceptedMessage) -> None:
        """Note that the tombstone or newer record of `message` is on the disk."""
        if message.segment is not None:
            message.segment.released += 1
            message.segment = None

    def messages_to_move(self) -> Segment | None:
        """Return a segment whose messages should be recorded again, else None.

        That is a suspect one, or the oldest when the ring is about to need it and few of its messages are left.
        """
        for segment in tuple(self._segments):  # a copy, because a commit may change the ring meanwhile
            if segment.is_suspect and segment.needed:
                return segment
        oldest, current = self._segments[0], self._current
        if oldest is current or current is None or not oldest.needed:
            return None
        return oldest if self._position > self._size // 2 or len(self._segments) > LEAST_SEGMENTS else None

    def empty(self) -> None:
        """Clear the journal, whatever it holds; the caller must need none of it. No commit may follow."""
        while len(self._segments) > LEAST_SEGMENTS:
            self._drop(self._segments[0])
        for segment in list(self._segments):
            if segment.is_suspect:
                self._drop(segment)
                continue
            self._epoch += 1
            text, _ = form.header(self._epoch, self.next_serial)
            self._disk.write_at(segment.fd, [text], 0)
            self._disk.sync_data(segment.fd)

    def close(self) -> None:
        """Close the files."""
        for segment in self._segments:
            self._disk.close(segment.fd)
        self._segments.clear()

    def _contents(self) -> list[tuple[str, memoryview, int]]:
        """Return path, content and descriptor of every segment, flushed; those with a valid header first."""
        contents = []
        for name, _ in self._disk.entries(self._folder):
            if name.startswith(NEW_PREFIX):
                self._disk.unlink(f"{self._folder}/{name}")
            elif name.startswith(SEGMENT_PREFIX):
                path = f"{self._folder}/{name}"
                fd = self._disk.open(path, os.O_RDWR)
                self._disk.sync_data(fd)
                contents.append((path, memoryview(self._disk.content(path) or b""), fd))
        return sorted(contents, key=lambda item: form.split_header(item[1]) is None)

    def _note(
        self,
        path: str,
        fd: int,
        data: memoryview,
        reading: Reading | None,
        found: list[tuple[Segment, Reading]],
    ) -> None:
        """Add a segment that was found to the ring."""
        damaged = find_damage(path, data, reading, self._size)
        if reading is None:
            segment = Segment(path, fd, 0)
            self._segments.appendleft(segment)
        elif len(data) > self._size and not reading.entries and damaged is None:
            # The size setting changed while it was empty.
            self._disk.close(fd)
            self._disk.unlink(path)
            return
        else:
            segment = Segment(path, fd, reading.epoch)
            self._nearby = max(self._nearby, reading.epoch)
            found.append((segment, reading))
        if damaged is not None:
            self.damaged.append(damaged)
            segment.is_suspect = damaged.is_certain
            segment.is_damaged = damaged.is_worth_keeping

    def _room(self, size: int, touched: list[Segment]) -> Segment:
        """Return a segment with room for a record; this may begin the next one of the ring."""
        if self._current is None or self._position + size > self._size:
            if self._current is not None:
                self._write_out(touched)
            self._next_segment()
        if self._position == 0:
            self._start_segment()
        assert self._current is not None
        return self._current

    def _write_out(self, touched: list[Segment]) -> None:
        if self._pieces and self._current is not None:
            touched.append(self._current)
            self._disk.write_at(self._current.fd, self._pieces, self._start)
            self._pieces = []
        self._start = self._position

    def _go_back(self, saved: tuple[Segment | None, int, int, int], is_flushing: bool) -> None:
        """Restore the position after a failed commit, perhaps in a flush.

        Nothing may be written after its records.
        """
        before, position, _, _ = saved
        if is_flushing and before is not None and position:
            before.is_suspect = True
            before = None
        if self._current is before:
            _, self._position, self._crc, self._start = saved
        else:
            self._current = None if saved[0] is self._current else self._current
            self._position = 0

    def _next_segment(self) -> None:
        """Continue with the next segment: the oldest if it is free, else a new one."""
        ring = self._segments
        while ring and not ring[0].needed and (ring[0].is_suspect or self._is_long()):
            self._drop(ring[0])
        if ring and ring[0] is not self._current and not ring[0].needed:
            ring.rotate(-1)
        else:
            ring.append(self._create_segment(self._epoch))
        self._current = ring[-1]
        self._position = 0

    def _is_long(self) -> bool:
        """Return whether the oldest segment can be removed, because the next can be reused as well."""
        ring = self._segments
        return len(ring) > LEAST_SEGMENTS and not ring[1].needed and ring[1] is not self._current

    def _start_segment(self) -> None:
        """Write and flush the header of a new epoch before anything else is written there; see the module."""
        assert self._current is not None
        self._epoch += 1
        self._current.epoch = self._epoch
        text, self._crc = form.header(self._epoch, self.next_serial)
        self._disk.write_at(self._current.fd, [text], 0)
        self._disk.sync_data(self._current.fd)
        self._start = self._position = len(text)

    def _create_segment(self, epoch: int) -> Segment:
        """Create a segment without records; it gets its name when its content is on the disk."""
        taken = {segment.path for segment in self._segments}
        path, new = next(
            (path, f"{self._folder}/{NEW_PREFIX}{count}")
            for count in range(len(taken) + 1)
            if (path := f"{self._folder}/{SEGMENT_PREFIX}{count}") not in taken
        )
        text, _ = form.header(epoch, self.next_serial)
        remove(self._disk, new)
        fd = self._disk.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            self._disk.write(fd, text)
            for start in range(len(text), self._size, len(_ZEROS)):
                self._disk.write(fd, _ZEROS[: self._size - start])
            self._disk.sync(fd)
            remove(self._disk, path)
            self._disk.link(new, path)
            self._disk.unlink(new)
            self._disk.sync_folder(self._folder)
        except OSError:
            self._disk.close(fd)
            remove(self._disk, new)
            raise
        return Segment(path, fd, epoch)

    def _keep(self, segment: Segment) -> None:
        """Link a damaged segment under another name, unless MAX_KEPT are kept already."""
        if sum(name.startswith(DAMAGED_PREFIX) for name, _ in self._disk.entries(self._folder)) < MAX_KEPT:
            try:
                self._disk.link(segment.path, f"{self._folder}/{DAMAGED_PREFIX}{segment.epoch}")
            except FileExistsError:
                pass

    def _drop(self, segment: Segment) -> None:
        """Remove a segment, on the disk too, before a younger one, with its tombstones, may be reused."""
        if segment.is_damaged:
            self._keep(segment)
        remove(self._disk, segment.path)
        self._disk.sync_folder(self._folder)
        self._segments.remove(segment)
        self._disk.close(segment.fd)


def _message(entry: form.JournalEntry, segment: Segment) -> AcceptedMessage:
    if entry.kind == form.IN_FILE:
        size, crc = form.split_in_file(entry.body)
        body = None
    else:
        body = bytes(entry.body)
        size, crc = len(body), 0
    message = AcceptedMessage(entry.number, entry.birth, entry.uid, entry.qp, entry.envelope, body, size, crc)
    message.serial, message.segment = entry.serial, segment
    return message
