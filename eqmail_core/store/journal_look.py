"""Whether a journal holds messages that are not files yet, without changing anything.

Fails: OSError where it cannot be read.
"""

import os

from eqmail_core.formats import journal as form
from eqmail_core.system.files import read_file


def live_messages(folder: str) -> int:
    """How many messages stand in the journal in `folder` and nowhere else; 0 where there is none."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return 0
    segments = []
    for name in names:
        data = memoryview(read_file(f"{folder}/{name}") or b"")
        known = form.split_header(data)
        if known is not None:
            segments.append((known[0], data, known[2]))
    live: set[int] = set()
    for _, data, crc in sorted(segments, key=lambda item: item[0]):
        for entry in form.scan(data, crc):
            if entry.kind == form.TOMBSTONES:
                live -= set(form.split_tombstones(entry.body))
            else:
                live.add(entry.serial)
    return len(live)
