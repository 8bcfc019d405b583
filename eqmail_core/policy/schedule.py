"""When a message is tried again: quadratic back-off, and the queue of what is due.

Seconds since the epoch, whole numbers; the clock is an argument.

Source: queue.md 3.7 "retry schedule" (qmail-send.c nextretry, prioq.c).
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import isqrt

LOCAL, REMOTE = 0, 1
"""The two channels, as indices."""

CHANNELS = ("local", "remote")
"""Names of the channels by index; also the names of their folders."""

SKIP = (10, 20)
"""Steps skipped on the square-root scale from one attempt to the next, by channel."""


def next_retry(birth: int, now: int, channel: int) -> int:
    """When to try again what is tried now: 100, 400, 900 s after birth for local, 400, 1600, 3600 s for remote."""
    return birth + (isqrt(max(now - birth, 0)) + SKIP[channel]) ** 2


class DueQueue:
    """Message numbers by the time at which they are due, the earliest first; equal times by number.

    An entry is one integer, time and number side by side, because a million may wait here.
    """

    __slots__ = ("_heap",)

    _SHIFT = 64
    _NUMBER = (1 << 64) - 1

    def __init__(self) -> None:
        self._heap: list[int] = []

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Number and due time of every entry, in no order."""
        return ((entry & self._NUMBER, entry >> self._SHIFT) for entry in self._heap)

    def insert(self, number: int, due: int) -> None:
        """Add a message; one that is there already is there twice."""
        heappush(self._heap, due << self._SHIFT | number)

    def take(self, now: float) -> int | None:
        """Remove and return the number that is due first; None when nothing is due by `now`."""
        if self._heap and self._heap[0] >> self._SHIFT <= now:
            return heappop(self._heap) & self._NUMBER
        return None

    def wakes_at(self) -> int | None:
        """When the first entry is due; None when there is none."""
        return self._heap[0] >> self._SHIFT if self._heap else None

    def hurry(self, now: int) -> None:
        """Make everything due at `now`."""
        self._heap = [now << self._SHIFT | number for number, _ in self]
        heapify(self._heap)
