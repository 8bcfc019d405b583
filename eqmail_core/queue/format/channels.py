"""When a message is tried again and when no more; and the queue of what is due.

Seconds since the epoch, whole numbers; the clock is an argument.  A message that is held waits like any other, for a
time that never comes (`HELD_UNTIL`): so C's qmail-send, which reads the same times from the files, leaves it alone too.

Source: queue.md 3.7 "retry schedule" (qmail-send.c nextretry, prioq.c).
"""

from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from math import isqrt

from eqmail_core.mail.domain_name import table_key

LOCAL, REMOTE = 0, 1
"""The two channels, as indices."""

CHANNELS = ("local", "remote")
"""Names of the channels by index; also the names of their folders."""

SKIP = (10, 20)
"""Steps skipped on the square-root scale from one attempt to the next, by channel."""


HELD_UNTIL = 4_102_444_800
"""When a held message is due: 2100-01-01, further than any retry and within what file systems can note."""


def next_retry(birth: int, now: int, channel: int) -> int:
    """When to try again what is tried now: 100, 400, 900 s after birth for local, 400, 1600, 3600 s for remote.

    A birth in the future is now.
    """
    birth = min(birth, now)
    return birth + (isqrt(now - birth) + SKIP[channel]) ** 2


def next_in_steps(steps: Sequence[int], birth: int, now: int) -> int:
    """When to try again what is tried now, by intervals in seconds: the one in force at the message's age.

    The first interval is in force from birth for as long as it lasts, then the second, the last one for ever.
    """
    age = max(now - birth, 0)
    for step in steps[:-1]:
        if age < step:
            return now + step
        age -= step
    return now + steps[-1]


def requeue_delay(age_s: int, is_moving: bool) -> int:
    """Seconds after which a message comes back that found no room to wait for its destination, so many wait there.

    A quarter of its age, half a minute at least (less where the destination takes mail), ten minutes at most.
    """
    return min(max(age_s // 4, 10 if is_moving else 30), 600)


class RetrySchedule:
    """How often a recipient is tried, and how long.

    `lifetime_s`: how long by default; `steps`: intervals between the attempts, none for the quadratic schedule;
    `lifetimes`: how long for the recipients at a host, as `table_key` has it, or at every host below .DOMAIN.
    """

    __slots__ = ("_lifetime_s", "_lifetimes", "_steps")

    def __init__(
        self, lifetime_s: int, steps: Sequence[int] = (), lifetimes: Mapping[bytes, int] | None = None
    ) -> None:
        self._lifetime_s = lifetime_s
        self._steps = steps
        self._lifetimes = dict(lifetimes or {})

    def next_attempt(self, birth: int, now: int, channel: int) -> int:
        """When to try again what is tried now."""
        return next_in_steps(self._steps, birth, now) if self._steps else next_retry(birth, now, channel)

    def at_most(self, due: int, now: int, channel: int) -> int:
        """A time that was noted for the next attempt; now, where no attempt before can have led to it.

        So a time from before the clock was set back does not hold a message up.  HELD_UNTIL stays.
        """
        longest = max(self._lifetime_s, *self._lifetimes.values(), 0)
        latest = max(self.next_attempt(now - longest, now, channel), now + max(self._steps, default=0))
        return due if due <= latest or due >= HELD_UNTIL else now

    def is_over(self, age_s: int, recipient: bytes) -> bool:
        """Whether an attempt at a recipient that began at this age of the message was the last one."""
        return age_s > (self._lifetime_at(recipient) if self._lifetimes else self._lifetime_s)

    def _lifetime_at(self, recipient: bytes) -> int:
        key = table_key(recipient.rpartition(b"@")[2])
        while key not in self._lifetimes:
            dot = key.find(b".", 1)
            if dot < 0:
                return self._lifetime_s
            key = key[dot:]
        return self._lifetimes[key]


class DueQueue:
    """Message numbers by the time at which they are due, the earliest first; equal times by number.

    An entry is one integer, time and number side by side, because a million may wait here.  Entries in the middle are
    found by `move` and `remove` after `index`, which costs memory, until `unindex`; what they leave behind in the heap
    is passed over when its time comes.
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
        """Number and due time of every entry, in no order."""
        left_over = self._stale
        return ((it & self._NUMBER, it >> self._SHIFT) for it in self._heap if it not in left_over)

    def snapshot(self) -> Iterator[tuple[int, int]]:
        """What iterating would yield now, while the queue goes on changing."""
        heap, left_over = self._heap[:], frozenset(self._stale)
        return ((it & self._NUMBER, it >> self._SHIFT) for it in heap if it not in left_over)

    def insert(self, number: int, due: int) -> None:
        """Add a message; one that is there already is there twice."""
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
        """When the first entry is due; None when there is none."""
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
        """The clock was set back: what waits waits no longer for it.  Held entries stay."""
        self._heap = [(due if due >= HELD_UNTIL else due - seconds) << self._SHIFT | number for number, due in self]
        self._stale.clear()
        heapify(self._heap)
        if self._entries is not None:
            self.index()

    def index(self) -> None:
        """Let entries be found by their number, until `unindex`."""
        self._entries = {number: due << self._SHIFT | number for number, due in self}

    def unindex(self) -> None:
        """Give back the memory of `index`."""
        self._entries = None

    def due_of(self, number: int) -> int | None:
        """When an indexed message is due; None when it is not here."""
        entry = (self._entries or {}).get(number)
        return None if entry is None else entry >> self._SHIFT

    def move(self, number: int, due: int) -> bool:
        """Give an indexed message another time; False when it is not here."""
        if not self.remove(number):
            return False
        self.insert(number, due)
        return True

    def remove(self, number: int) -> bool:
        """Take an indexed message out; False when it is not here."""
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
        """Take a message out as often as it is here, indexed or not; slow."""
        self._heap = [it for it in self._heap if it not in self._stale and it & self._NUMBER != number]
        self._stale.clear()
        heapify(self._heap)
        if self._entries is not None:
            self._entries.pop(number, None)

    def _pass_over(self) -> None:
        left_over = self._stale
        while left_over and self._heap and self._heap[0] in left_over:
            left_over.discard(heappop(self._heap))
