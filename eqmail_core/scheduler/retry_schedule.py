"""The retry schedule: when a deferred recipient is tried again, and for how long.

Times are whole seconds since the epoch; the clock is an argument.

Source: queue.md 3.7 "retry schedule" (qmail-send.c nextretry).
"""

from collections.abc import Mapping, Sequence
from math import isqrt

from eqmail_core.mail.domain_match import find_by_host
from eqmail_core.queue.format.channels import HELD_UNTIL

SKIP = (10, 20)
"""Steps skipped on the square-root scale from one attempt to the next, by channel."""


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
