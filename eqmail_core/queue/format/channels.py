"""The retry schedule of a message, and the queue of messages by due time.

Times are whole seconds since the epoch; the clock is an argument. A held message waits like any other, for a time that
never comes (`HELD_UNTIL`). C's qmail-send reads the same times from the files, so it does not deliver it either.

Source: queue.md 3.7 "retry schedule" (qmail-send.c nextretry, prioq.c).
"""

from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from math import isqrt

from eqmail_core.mail.domain_match import find_by_host

LOCAL, REMOTE = 0, 1
"""The two channels, as indices."""

CHANNELS = ("local", "remote")
"""Names of the channels by index; also the names of their folders."""

SKIP = (10, 20)
"""Steps skipped on the square-root scale from one attempt to the next, by channel."""


HELD_UNTIL = 4_102_444_800
"""Due time of a held message: 2100-01-01, later than any retry and within the range of file systems."""


def next_retry(birth: int, now: int, channel: int) -> int:
    """Return the retry time after an attempt, by the quadratic schedule.

    100, 400, 900 s after birth for local, 400, 1600, 3600 s for remote.

    A birth in the future counts as now.
    """
    birth = min(birth, now)
    return birth + (isqrt(now - birth) + SKIP[channel]) ** 2


def next_in_steps(steps: Sequence[int], birth: int, now: int) -> int:
    """Return the retry time after an attempt, by intervals in seconds.

    The interval that applies depends on the message's age.

    The first interval applies from birth for as long as it lasts, then the second, and finally the last one forever.
    """
    age = max(now - birth, 0)
    for step in steps[:-1]:
        if age < step:
            return now + step
        age -= step
    return now + steps[-1]


def requeue_delay(age_s: int, is_moving: bool) -> int:
    """Return the delay in seconds of a message that found no room in the queue of its destination.

    A quarter of its age, half a minute at least (less where the destination accepts mail), ten minutes at most.
    """
    return min(max(age_s // 4, 10 if is_moving else 30), 600)


class RetrySchedule:
    """How often a recipient is tried, and how long.

    `lifetime_s`: default limit; `steps`: intervals between the attempts, none for the quadratic schedule; `lifetimes`:
    limits for the recipients at a host, as `table_key` returns it, or at every host below .DOMAIN.
    """

    __slots__ = ("_lifetime_s", "_lifetimes", "_steps")

    def __init__(
        self, lifetime_s: int, steps: Sequence[int] = (), lifetimes: Mapping[bytes, int] | None = None
    ) -> None:
        self._lifetime_s = lifetime_s
        self._steps = steps
        self._lifetimes = dict(lifetimes or {})

    def next_attempt(self, birth: int, now: int, channel: int) -> int:
        """Return the retry time of an attempt made now."""
        return next_in_steps(self._steps, birth, now) if self._steps else next_retry(birth, now, channel)

    def at_most(self, due: int, now: int, channel: int) -> int:
        """Return the noted time of the next attempt; or now, if no earlier attempt can have led to it.

        So a time noted before the clock was set back does not delay a message.  HELD_UNTIL stays.
        """
        longest = max(self._lifetime_s, *self._lifetimes.values(), 0)
        latest = max(self.next_attempt(now - longest, now, channel), now + max(self._steps, default=0))
        return due if due <= latest or due >= HELD_UNTIL else now

    def is_over(self, age_s: int, recipient: bytes) -> bool:
        """Return whether an attempt that began at this age of the message was the recipient's last one."""
        return age_s > (self._lifetime_at(recipient) if self._lifetimes else self._lifetime_s)

    def _lifetime_at(self, recipient: bytes) -> int:
        lifetime_s = find_by_host(self._lifetimes, recipient.rpartition(b"@")[2])
        return self._lifetime_s if lifetime_s is None else lifetime_s


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
        return ((it & self._NUMBER, it >> self._SHIFT) for it in self._heap if it not in left_over)

    def snapshot(self) -> Iterator[tuple[int, int]]:
        """Yield what iterating would yield now, while the queue keeps changing."""
        heap, left_over = self._heap[:], frozenset(self._stale)
        return ((it & self._NUMBER, it >> self._SHIFT) for it in heap if it not in left_over)

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
        self._pass_over()
        if self._heap and self._heap[0] >> self._SHIFT <= now:
            number = heappop(self._heap) & self._NUMBER
            if self._entries is not None:
                self._entries.pop(number, None)
            return number
        return None

    def wakes_at(self) -> int | None:
        """Return when the first entry is due; None when there is none."""
        self._pass_over()
        return self._heap[0] >> self._SHIFT if self._heap else None

    def retry_all(self, now: int) -> None:
        """Make everything due at `now`, except what is held."""
        self._heap = [(due if due >= HELD_UNTIL else now) << self._SHIFT | number for number, due in self]
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
            self._heap = [it for it in self._heap if it not in self._stale]
            self._stale.clear()
            heapify(self._heap)
        return True

    def discard(self, number: int) -> None:
        """Remove every entry of a message, indexed or not; slow."""
        self._heap = [it for it in self._heap if it not in self._stale and it & self._NUMBER != number]
        self._stale.clear()
        heapify(self._heap)
        if self._entries is not None:
            self._entries.pop(number, None)

    def _pass_over(self) -> None:
        left_over = self._stale
        while left_over and self._heap and self._heap[0] in left_over:
            left_over.discard(heappop(self._heap))
