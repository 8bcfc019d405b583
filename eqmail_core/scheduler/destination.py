"""The delivery limits of one destination, and how they shrink while it is busy or unreachable.

A destination begins with a small window of deliveries. A busy reply (421, 450, 4.7.x) and an unanswered attempt halve
the window, and each time the pause before the next delivery doubles. Every accepted message widens the window, and
some minutes without such replies reopen it. After a few unanswered attempts in a row the destination counts as dead:
it gets one delivery at a time as a probe, and all other recipients are deferred.

Fails: never; the clock is an argument, and may be set back.
"""

from eqmail_core.control.remote_limits import Limit

FIRST_WINDOW = 5.0
INITIAL_BACKOFF_S = 1.0
MAX_BACKOFF_S = 60.0
CALM_S = 300.0
DEAD_AFTER = 3
"""Unanswered attempts in a row after which a destination counts as dead."""

WIDE_OPEN = 1000.0
"""A window that does not limit."""

_SAID = b"Remote host said: "
_NOBODY = (b"(#4.4.1)", b"(#4.4.2)", b"(#4.4.3)", b"(#4.1.2)")


class DestinationThrottle:
    """Counts the running deliveries to one destination and decides when the next one may start.

    `is_proven`: it has answered since its last unanswered attempt. `answered_at`: time of its last answer.
    `last_error`: why its last unanswered attempt failed.
    """

    __slots__ = (
        "_busy_at",
        "_failures",
        "_free_at",
        "_pause_s",
        "_window",
        "answered_at",
        "is_proven",
        "last_error",
        "limit",
        "running",
    )

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.running = 0
        self.is_proven = False
        self.answered_at = 0.0
        self.last_error = b""
        self._failures = 0
        self._free_at = 0.0
        self._pause_s = 0.0
        self._busy_at = 0.0
        self._window = FIRST_WINDOW

    @property
    def is_dead(self) -> bool:
        """Whether it gets only occasional probes."""
        return self._failures >= DEAD_AFTER

    def delay(self, now: float) -> float | None:
        """Return the seconds until another delivery may start, 0 for now.

        None: not before a running one ends.
        """
        if self._window < FIRST_WINDOW and now - self._busy_at >= CALM_S:
            self._window = FIRST_WINDOW
            self._pause_s = 0.0
        limit = 1.0 if self.is_dead else min(self._window, self.limit.concurrency or WIDE_OPEN)
        if self.running >= limit:
            return None
        # A clock that was set back must not make this delay longer.
        self._free_at = min(self._free_at, now + MAX_BACKOFF_S + self.limit.spacing_s)
        return max(0.0, self._free_at - now)

    def start(self, now: float) -> None:
        """Record the start of a delivery."""
        self.running += 1
        if self.limit.spacing_s:
            self._free_at = max(self._free_at, now) + self.limit.spacing_s

    def end(self, outcome: bytes, text: bytes, now: float) -> None:
        """Record the end of a delivery with this report."""
        self.running -= 1
        if is_connection_failure(outcome, text):
            self._failures += 1
            self.last_error = text
            self.is_proven = False
            self._back_off(now)
        elif is_busy_reply(text):
            self._answered(now)
            self._back_off(now)
        elif outcome == b"K":
            self._answered(now)
            self._pause_s = 0.0
            self._window = min(WIDE_OPEN, self._window + 1)
        elif outcome == b"D" or _SAID in text:
            self._answered(now)

    def reset(self) -> None:
        """Clear failures and pauses at an administrator's request."""
        self._failures = 0
        self._free_at = self._pause_s = 0.0
        self._window = max(self._window, FIRST_WINDOW)

    def set_back(self, seconds: int) -> None:
        """Adjust to a clock that was set back."""
        self.answered_at -= seconds
        self._free_at -= seconds
        self._busy_at -= seconds

    def is_expired(self, now: float) -> bool:
        """Whether discarding this state would lose nothing."""
        return self.running == 0 and self._free_at <= now and self._window >= FIRST_WINDOW and not self._failures

    def _answered(self, now: float) -> None:
        self._failures = 0
        self.is_proven = True
        self.answered_at = now

    def _back_off(self, now: float) -> None:
        self._busy_at = now
        self._window = max(1.0, min(self._window, self.running + 1) / 2)
        self._pause_s = min(MAX_BACKOFF_S, self._pause_s * 2 or INITIAL_BACKOFF_S)
        self._free_at = max(self._free_at, now + self._pause_s)


def is_busy_reply(text: bytes) -> bool:
    """Return whether a report says that the destination wants less mail."""
    answer = text.partition(_SAID)[2]
    return answer[:3] in (b"421", b"450") or (answer[:1] == b"4" and answer[4:8] == b"4.7.")


def is_connection_failure(outcome: bytes, text: bytes) -> bool:
    """Return whether a report says that the connection failed or was lost."""
    return outcome == b"Z" and _SAID not in text and any(status in text for status in _NOBODY)
