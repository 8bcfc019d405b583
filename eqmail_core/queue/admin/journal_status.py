"""What the journal of stopped services holds, without changing anything: messages that are not files yet, and damage.

While the queue service runs, its log says what was damaged; a file that it writes is never whole for a reader.
Fails: OSError where it cannot be read.
"""

import os
from typing import NamedTuple

from eqmail_core.queue.format import journal as form
from eqmail_core.queue.format.journal_damage import Damaged, find_damage
from eqmail_core.queue.format.journal_reading import read
from eqmail_core.queue.service.journal import SEGMENT_SIZE
from eqmail_core.queue.service.journal_segment import DAMAGED_PREFIX, SEGMENT_PREFIX
from eqmail_core.system.files import read_file


class JournalStatus(NamedTuple):
    """`live`: messages that are only in the journal; `damaged`: its segments with damage.

    `kept`: paths of damaged segments of an earlier time, kept for examination.
    """

    live: int
    damaged: list[Damaged]
    kept: list[str]


def read_journal_status(folder: str) -> JournalStatus:
    """Look at the journal in `folder`; where there is none, it is empty."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        names = []
    readings, damaged = [], []
    for name in names:
        if name.startswith(SEGMENT_PREFIX):
            path = f"{folder}/{name}"
            data = memoryview(read_file(path) or b"")
            reading = read(data)
            found = find_damage(path, data, reading, SEGMENT_SIZE)
            if reading is not None:
                readings.append(reading)
            if found is not None:
                damaged.append(found)
    live: set[int] = set()
    for reading in sorted(readings, key=lambda item: item.epoch):
        for entry in reading.entries:
            if entry.kind == form.TOMBSTONES:
                live -= set(form.split_tombstones(entry.body))
            else:
                live.add(entry.serial)
    return JournalStatus(len(live), damaged, [f"{folder}/{name}" for name in names if name.startswith(DAMAGED_PREFIX)])


def live_messages(folder: str) -> int:
    """Count the messages that are only in the journal in `folder`."""
    return read_journal_status(folder).live
