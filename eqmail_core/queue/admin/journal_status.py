"""Counts the messages of a journal that are not files yet, without changing anything.

Fails: OSError where it cannot be read.
"""

import os

from eqmail_core.queue.format import journal as form
from eqmail_core.queue.format.journal_reading import read
from eqmail_core.queue.service.journal_segment import SEGMENT_PREFIX
from eqmail_core.system.files import read_file


def live_messages(folder: str) -> int:
    """Count the messages that are only in the journal in `folder`; 0 if there is no journal."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return 0
    readings = []
    for name in names:
        if name.startswith(SEGMENT_PREFIX):
            reading = read(memoryview(read_file(f"{folder}/{name}") or b""))
            if reading is not None:
                readings.append(reading)
    live: set[int] = set()
    for reading in sorted(readings, key=lambda item: item.epoch):
        for entry in reading.entries:
            if entry.kind == form.TOMBSTONES:
                live -= set(form.split_tombstones(entry.body))
            else:
                live.add(entry.serial)
    return len(live)
