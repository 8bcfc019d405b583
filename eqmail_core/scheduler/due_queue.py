"""The messages of a channel by due time.

Source: queue.md 3.7 (qmail-send.c prioq.c).
"""

from collections.abc import Container, Iterator
from heapq import heapify, heappop, heappush

from eqmail_core.queue.format.channels import HELD_UNTIL


class DueQueue:
    """Message numbers by due time, the earliest first; equal times by number.

    An entry is one integer of time and number, because there may be a million entries.  Entries in the middle are
    found by `move` and `remove` after `index`, which uses memory, until `unindex`; the stale heap entries they leave
    are skipped when they come up.
    """

    __slots__ = ("_entries", "_heap", "_stale")

    _SHIFT = 64
    _NUMBER = (1 << 64) - 1

    def __init__(self) -> None:
        self._heap: list[int] = []
        self._stale: set[int] = set()
        self._entries: dict[int, int] | None = None

    def __len__(self) -> int:
        return len(self._heap) - len(self._stale)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield number and due time of every entry, in no order."""
        left_over = self._stale
        return ((key & self._NUMBER, key >> self._SHIFT) for key in self._heap if key not in left_over)

    def snapshot(self) -> Iterator[tuple[int, int]]:
        """Yield what iterating would yield now, while the queue keeps changing."""
        heap, left_over = self._heap[:], frozenset(self._stale)
        return ((key & self._NUMBER, key >> self._SHIFT) for key in heap if key not in left_over)

    def insert(self, number: int, due: int) -> None:
        """Add a message; a second entry for the same message is possible."""
        entry = due << self._SHIFT | number
        if self._entries is not None:
            self._entries[number] = entry
        if entry in self._stale:
            self._stale.discard(entry)
        else:
            heappush(self._heap, entry)

    def pop_due(self, now: float) -> int | None:
        """Remove and return the number that is due first; None when nothing is due by `now`."""
        if not self._heap:
            return None
        self._pass_over()
        if self._heap and self._heap[0] >> self._SHIFT <= now:
            number = heappop(self._heap) & self._NUMBER
            if self._entries is not None:
                self._entries.pop(number, None)
            return number
        return None

    def wakes_at(self) -> int | None:
        """Return when the first entry is due; None when there is none."""
        if not self._heap:
            return None
        self._pass_over()
        return self._heap[0] >> self._SHIFT if self._heap else None

    def retry_all(self, now: int, numbers: Container[int] | None = None) -> None:
        """Make everything due at `now`, or these numbers alone; except what is held."""
        self._heap = [
            (due if due >= HELD_UNTIL or (numbers is not None and number not in numbers) else now) << self._SHIFT
            | number
            for number, due in self
        ]
        self._stale.clear()
        heapify(self._heap)
        if self._entries is not None:
            self.index()

    def set_back(self, seconds: int) -> None:
        """Adjust to a clock that was set back, so that nothing waits longer for it.  Held entries stay."""
        self._heap = [(due if due >= HELD_UNTIL else due - seconds) << self._SHIFT | number for number, due in self]
        self._stale.clear()
        heapify(self._heap)
        if self._entries is not None:
            self.index()

    def index(self) -> None:
        """Make entries findable by their number, until `unindex`."""
        self._entries = {number: due << self._SHIFT | number for number, due in self}

    def unindex(self) -> None:
        """Release the memory of `index`."""
        self._entries = None

    def due_of(self, number: int) -> int | None:
        """Return when an indexed message is due; None when it is not in the queue."""
        entry = (self._entries or {}).get(number)
        return None if entry is None else entry >> self._SHIFT

    def move(self, number: int, due: int) -> bool:
        """Give an indexed message another due time; False when it is not in the queue."""
        if not self.remove(number):
            return False
        self.insert(number, due)
        return True

    def remove(self, number: int) -> bool:
        """Remove an indexed message; False when it is not in the queue."""
        entry = self._entries.pop(number, None) if self._entries is not None else None
        if entry is None:
            return False
        self._stale.add(entry)
        if len(self._stale) > len(self._heap) // 2 + 100:
            self._heap = [key for key in self._heap if key not in self._stale]
            self._stale.clear()
            heapify(self._heap)
        return True

    def discard(self, number: int) -> None:
        """Remove every entry of a message, indexed or not; slow."""
        self._heap = [key for key in self._heap if key not in self._stale and key & self._NUMBER != number]
        self._stale.clear()
        heapify(self._heap)
        if self._entries is not None:
            self._entries.pop(number, None)

    def _pass_over(self) -> None:
        left_over = self._stale
        while left_over and self._heap and self._heap[0] in left_over:
            left_over.discard(heappop(self._heap))
