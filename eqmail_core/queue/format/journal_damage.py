"""What is damaged in a segment of the queue's journal, and what that has cost, in words for the administrator.

Fails: never.
"""

from eqmail_core.queue.format.journal_reading import Damage, Reading

ALERT, WARNING = "alert", "warning"

_LOST = "is lost: messages that waited, or notes that others were delivered, which then come again"


class Damaged:
    """A damaged segment: its file, its size in bytes, its damaged ranges and the number of its intact records.

    Every segment has a header and its full size before it gets its name (queue/service/journal.py).  So what is blank
    (empty, or zeros only) or short was damaged later.
    """

    __slots__ = ("damages", "epoch", "intact", "is_blank", "is_short", "path", "size")

    def __init__(self, path: str, data: memoryview, reading: Reading | None, full_size: int) -> None:
        self.path = path
        self.size = len(data)
        self.is_short = len(data) < full_size
        self.is_blank = reading is None and bytes(data).count(0) == len(data)
        self.epoch = reading.epoch if reading else 0
        self.damages = reading.damages if reading else [Damage(0, len(data), is_certain=True)]
        self.intact = len(reading.entries) if reading else 0

    @property
    def is_certain(self) -> bool:
        """Whether something that was on the disk is damaged; otherwise a crash may have cut a commit short."""
        return self.is_short or any(damage.is_certain for damage in self.damages)

    @property
    def is_worth_keeping(self) -> bool:
        """Whether the file is worth an examination."""
        return self.is_certain and not self.is_blank


def find_damage(path: str, data: memoryview, reading: Reading | None, full_size: int) -> Damaged | None:
    """Return what is damaged in a segment that was read, None if nothing is."""
    damaged = Damaged(path, data, reading, full_size)
    return damaged if damaged.damages or damaged.is_short else None


def describe_damage(damaged: Damaged) -> tuple[str, str]:
    """Return the weight of a damaged segment, ALERT or WARNING, and a sentence: where it is, and what is lost."""
    path, size, intact = damaged.path, damaged.size, damaged.intact
    are_read = "one record is read" if intact == 1 else f"{intact} records are read"
    if damaged.is_blank:
        what = f"holds zeros only ({size} bytes)" if size else "is empty"
        return ALERT, f"{path}: {what}: every message that waited in it is lost"
    if damaged.is_short:
        return ALERT, f"{path}: is cut off after {size} bytes: what stood behind {_LOST}; {are_read}"
    places = len(damaged.damages)
    count = "one damaged place" if places == 1 else f"{places} damaged places"
    length = sum(damage.end - damage.start for damage in damaged.damages)
    where = f"{path}: {count} ({length} bytes, the first at offset {damaged.damages[0].start})"
    if all(damage.is_read for damage in damaged.damages):
        weight = ALERT if damaged.is_certain else WARNING
        return weight, f"{where}, in its header or in checksums: nothing is lost, {are_read}"
    if not damaged.is_certain:
        return WARNING, f"{where} at its end: cut short by a crash, so never accepted, or damaged; {are_read}"
    if not intact:
        return ALERT, f"{where}: no record can be read; what stood there {_LOST}"
    return ALERT, f"{where}: what stood there {_LOST}; before and behind {are_read}"
