"""Whose turn it is: deliveries wait here for a destination that gets no more at the moment, and not for long.

Those that wait hold places that other mail could use.  So they are deferred after a minute, and after a few seconds
while they hold most of the places; not at once, or one refusal would put off everything that waits for its turn.

Fails: Temporary for a delivery that has waited in vain.
"""

import asyncio
from collections import deque

from eqmail_core.formats.remote_limits import Limit
from eqmail_core.policy.destination import Destination
from eqmail_core.values.outcome import Temporary

WAIT_S = 60.0
CROWDED_S = 5.0
MOST_KNOWN = 10_000


class Turns:
    """The destinations that have mail now, or had trouble lately."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wait_s: float = WAIT_S, crowded_s: float = CROWDED_S) -> None:
        self._loop = loop
        self._wait_s = wait_s
        self._crowded_s = crowded_s
        self._places: dict[bytes, _Place] = {}
        self._waiting = 0
        self._is_closed = False

    async def take(self, host: bytes, limit: Limit, places: int) -> None:
        """Wait for the turn of a delivery to `host`, in lower case; `give_back` must follow unless this fails.

        `places`: how many deliveries there are at a time, altogether, with those that wait.
        """
        place = self._places.get(host)
        if place is None:
            self._forget_old()
            place = self._places[host] = _Place(limit)
        place.destination.limit = limit
        now = self._loop.time()
        if not place.waiters and place.destination.delay(now) == 0:
            place.destination.start(now)
            return
        if self._is_closed:
            raise _congested(host)
        await self._wait(host, place, self._crowded_s if self._waiting * 2 >= places else self._wait_s)

    def give_back(self, host: bytes, is_accepted: bool, has_enough: bool) -> None:
        """The delivery has ended; see `Destination.end`."""
        place = self._places[host]
        place.destination.end(is_accepted, has_enough, self._loop.time())
        self._call_next(place)
        self._forget(host, place)

    def close(self) -> None:
        """Let nobody wait any more; those who do are deferred."""
        self._is_closed = True
        for place in self._places.values():
            for waiter in place.waiters:
                if not waiter.done():
                    waiter.set_result(False)

    async def _wait(self, host: bytes, place: "_Place", wait_s: float) -> None:
        waiter: asyncio.Future[bool] = self._loop.create_future()
        place.waiters.append(waiter)
        self._waiting += 1
        self._call_next(place)
        is_called = False
        try:
            async with asyncio.timeout(wait_s):
                is_called = await waiter
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1
            if waiter in place.waiters:
                place.waiters.remove(waiter)
            if not is_called and waiter.done() and not waiter.cancelled() and waiter.result():
                # Called, and gone all the same: the turn is the next one's.
                self.give_back(host, False, False)
            self._forget(host, place)
        if not is_called:
            raise _congested(host)

    def _call_next(self, place: "_Place") -> None:
        """Let start who may, and look again when the next one may."""
        now = self._loop.time()
        if place.timer is not None:
            place.timer.cancel()
            place.timer = None
        while place.waiters:
            delay = place.destination.delay(now)
            if delay is None:
                return
            if delay > 0:
                place.timer = self._loop.call_later(delay, self._call_next, place)
                return
            waiter = place.waiters.popleft()
            if not waiter.done():
                place.destination.start(now)
                waiter.set_result(True)

    def _forget(self, host: bytes, place: "_Place") -> None:
        is_over = not place.waiters and place.destination.is_forgettable(self._loop.time())
        if is_over and self._places.get(host) is place:
            del self._places[host]

    def _forget_old(self) -> None:
        """Keep the number of destinations that had trouble bounded."""
        if len(self._places) >= MOST_KNOWN:
            for host, place in list(self._places.items()):
                if place.destination.running == 0 and not place.waiters:
                    del self._places[host]


class _Place:
    """A destination, and those who wait for it."""

    __slots__ = ("destination", "timer", "waiters")

    def __init__(self, limit: Limit) -> None:
        self.destination = Destination(limit)
        self.waiters: deque[asyncio.Future[bool]] = deque()
        self.timer: asyncio.TimerHandle | None = None


def _congested(host: bytes) -> Temporary:
    safe = bytes(byte if 33 <= byte <= 126 else 63 for byte in host)
    return Temporary(b"Too much mail for %b at a time; this one has to wait. (#4.4.5)" % safe)
