"""Limits the bounces that one address gets in an hour, to protect forged senders.

The number of stored addresses and the data of each are bounded. The address served longest ago is removed first.
Fails: never.
"""

from collections import OrderedDict, deque

HOUR_S = 3600
_ADDRESSES = 10_000


class BounceLimit:
    """Allows `per_hour` bounces to an address in any hour; 0: no limit.

    `per_hour` may be changed at any time.
    """

    def __init__(self, per_hour: int = 0) -> None:
        self.per_hour = per_hour
        self._times: OrderedDict[bytes, deque[int]] = OrderedDict()

    def wait_s(self, address: bytes, now: int) -> int:
        """Return the seconds that a bounce must wait; 0: send it now, it has been counted."""
        if not self.per_hour:
            self._times.clear()
            return 0
        key = address.lower()
        times = self._times.setdefault(key, deque())
        if times and times[-1] > now:
            # The clock was set back.
            times = self._times[key] = deque(min(time, now) for time in times)
        while times and times[0] <= now - HOUR_S:
            times.popleft()
        if len(times) >= self.per_hour:
            return max(1, times[-self.per_hour] + HOUR_S - now)
        times.append(now)
        self._times.move_to_end(key)
        if len(self._times) > _ADDRESSES:
            self._times.popitem(last=False)
        return 0

    def give_back(self, address: bytes) -> None:
        """Undo the last count, for a bounce that was not sent."""
        if times := self._times.get(address.lower()):
            times.pop()
