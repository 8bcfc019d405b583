"""Remote recipients that wait for their destination without occupying a delivery slot.

Destinations are served in turn, each as often as its throttle allows (scheduler/destination.py). No destination gets
all slots, and destinations that have not answered lately do not get all of them together. So there is always a slot
for a working destination. How many recipients may wait for one destination depends on the room left in total.

No recipient waits forever: one that waits for a dead destination, or a minute for one without progress, is deferred.

Knows no jobs and no files; the clock is an argument.  Fails: never.
"""

from collections import deque
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from math import ceil
from typing import Generic, TypeVar

from eqmail_core.control.remote_limits import Limit, limit_of
from eqmail_core.scheduler.destination import DestinationThrottle

Item = TypeVar("Item")

MAX_WAITING = 20_000
"""Recipients that may wait, in total."""

MAX_WAIT_S = 60.0
"""How long to wait for a destination without progress."""

MAX_DESTINATIONS = 10_000
"""Destinations remembered while no recipient waits for them."""


class DestinationQueue(Generic[Item]):
    """The items that wait for one destination, with their arrival times."""

    __slots__ = ("alarm_at", "destination", "is_awake", "waiting")

    def __init__(self, limit: Limit) -> None:
        self.destination = DestinationThrottle(limit)
        self.waiting: deque[tuple[float, Item]] = deque()
        self.is_awake = False
        self.alarm_at = 0.0


class DestinationQueues(Generic[Item]):
    """Decides which waiting item gets the next of `slots` slots.

    `limits`: from control/remotelimits.
    """

    def __init__(self, slots: int, limits: "Mapping[bytes, Limit] | None" = None, room: int = MAX_WAITING) -> None:
        self._limits = limits
        self.waiting = 0
        self._room = room
        # An eighth of the slots, and at least one, is reserved for other destinations.
        self._limit = max(1, slots - max(1, slots // 8))
        self._unproven = 0
        self._queues: dict[bytes, DestinationQueue[Item]] = {}
        self._awake: deque[DestinationQueue[Item]] = deque()
        self._held_for_unproven: deque[DestinationQueue[Item]] = deque()
        self._alarms: list[tuple[float, int, DestinationQueue[Item]]] = []
        self._alarm_count = 0

    def has_space(self, domain: bytes, factor: int = 2) -> bool:
        """Whether one more item may wait for `domain` (lower case).

        Its waiting items must fill less than half of the free room.
        """
        queue = self._queues.get(domain)
        return factor * (len(queue.waiting) if queue else 0) < self._room - self.waiting

    def is_moving(self, domain: bytes, now: float) -> bool:
        """Whether the destination has answered within the last minute."""
        queue = self._queues.get(domain)
        return queue is not None and now - queue.destination.answered_at < MAX_WAIT_S

    def last(self, domain: bytes) -> Item | None:
        """Return the item that joined the queue of a destination last."""
        queue = self._queues.get(domain)
        return queue.waiting[-1][1] if queue and queue.waiting else None

    def enqueue(self, domain: bytes, item: Item, now: float) -> DestinationQueue[Item]:
        """Add an item; pass the returned queue to `delivery_ended` when its delivery has ended."""
        queue = self._queues.get(domain)
        if queue is None:
            self._expire_destinations(now)
            queue = self._queues[domain] = DestinationQueue(limit_of(self._limits, domain))
        queue.waiting.append((now, item))
        self.waiting += 1
        self._wake(queue)
        return queue

    def next_ready(self, now: float) -> tuple[Item, bytes] | None:
        """Return the next item: with b"" to start it, else with the reason to defer it.

        None: nothing is ready.
        """
        awake = self._awake
        self._ring_alarms(now)
        while awake:
            queue = awake[0]
            if queue.waiting:
                destination = queue.destination
                delay = destination.delay(now)
                if delay == 0.0 and destination.running < self._limit:
                    if destination.is_proven or self._unproven < self._limit:
                        awake.rotate(-1)
                        return self._dequeue(queue, now), b""
                    self._held_for_unproven.append(queue)
                reason = self._reason_to_defer(queue, now)
                if reason:
                    self.waiting -= 1
                    return queue.waiting.popleft()[1], reason
                self._set_alarm(queue, now, min(delay or MAX_WAIT_S, MAX_WAIT_S))
            awake.popleft()
            queue.is_awake = False
        return None

    def delivery_ended(self, queue: DestinationQueue[Item], outcome: bytes, text: bytes, now: float) -> None:
        """Record the end of a delivery that `next_ready` started, with its report."""
        destination = queue.destination
        before = 0 if destination.is_proven else destination.running
        destination.end(outcome, text, now)
        self._unproven += (0 if destination.is_proven else destination.running) - before
        self._wake(queue)
        if self._held_for_unproven and self._unproven < self._limit:
            self._wake(self._held_for_unproven.popleft())

    def wakes_at(self) -> float | None:
        """Return when another item becomes ready if nothing happens before."""
        return self._alarms[0][0] if self._alarms else None

    def remove(self, matches: Callable[[Item], bool]) -> list[Item]:
        """Remove waiting items that need no result."""
        gone = []
        for queue in self._queues.values():
            leaving = [item for _, item in queue.waiting if matches(item)]
            if leaving:
                queue.waiting = deque(waiting for waiting in queue.waiting if not matches(waiting[1]))
                gone += leaving
        self.waiting -= len(gone)
        return gone

    def limit_by(self, limits: "Mapping[bytes, Limit] | None") -> None:
        """Replace the limits."""
        self._limits = limits
        for domain, queue in self._queues.items():
            queue.destination.limit = limit_of(limits, domain)
            self._wake(queue)

    def set_back(self, seconds: int) -> None:
        """Adjust to a clock that was set back, so that nothing waits longer for it."""
        for queue in self._queues.values():
            queue.destination.set_back(seconds)
            queue.alarm_at -= seconds
            queue.waiting = deque((arrived - seconds, item) for arrived, item in queue.waiting)
        self._alarms = [(when - seconds, count, queue) for when, count, queue in self._alarms]

    def retry_all(self) -> None:
        """Try every destination as if it had never failed."""
        for queue in self._queues.values():
            queue.destination.reset()
            self._wake(queue)

    def _dequeue(self, queue: DestinationQueue[Item], now: float) -> Item:
        destination = queue.destination
        destination.start(now)
        self._unproven += not destination.is_proven
        self.waiting -= 1
        return queue.waiting.popleft()[1]

    def _reason_to_defer(self, queue: DestinationQueue[Item], now: float) -> bytes:
        destination = queue.destination
        if destination.is_dead:
            seconds = destination.delay(now)
            until = b"for %d seconds" % ceil(seconds) if seconds else b"until one delivery has an answer"
            return b"Left alone %b, after: %b" % (until, destination.last_error)
        since = max(queue.waiting[0][0], destination.answered_at)
        if now - since < MAX_WAIT_S:
            return b""
        return b"Too much mail for this destination at a time; this one has to wait. (#4.4.5)\n"

    def _wake(self, queue: DestinationQueue[Item]) -> None:
        if not queue.is_awake and queue.waiting:
            queue.is_awake = True
            self._awake.append(queue)

    def _set_alarm(self, queue: DestinationQueue[Item], now: float, seconds: float) -> None:
        """Have a queue checked after this time at the latest; an earlier alarm of its own is kept."""
        when = now + seconds
        if not now < queue.alarm_at <= when:
            queue.alarm_at = when
            self._alarm_count += 1
            heappush(self._alarms, (when, self._alarm_count, queue))

    def _ring_alarms(self, now: float) -> None:
        alarms = self._alarms
        while alarms and alarms[0][0] <= now:
            self._wake(heappop(alarms)[2])

    def _expire_destinations(self, now: float) -> None:
        """Keep the number of destinations bounded."""
        if len(self._queues) < MAX_DESTINATIONS:
            return
        for domain, queue in list(self._queues.items()):
            if not queue.waiting and not queue.is_awake and queue.destination.is_expired(now):
                del self._queues[domain]
