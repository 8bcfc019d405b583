"""How much mail one destination gets at a time: its limits, and how they shrink while it is tired and grow again.

A window of deliveries is halved by every sign that the destination has enough (421, 450, 4.7.x), and the next delivery
waits, twice as long each time; every accepted message widens it again, and some minutes of peace open it.

Fails: never; the clock is an argument.
"""

from eqmail_core.formats.remote_limits import Limit

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
PEACE_S = 300.0

WIDE = 1000.0
"""A window that is as good as none."""

_SAID = b"Remote host said: "


class Destination:
    """The deliveries to one destination that run now, and when the next one may start."""

    __slots__ = ("_free_at", "_pause_s", "_tired_at", "_window", "limit", "running")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.running = 0
        self._free_at = 0.0
        self._pause_s = 0.0
        self._tired_at = 0.0
        self._window = WIDE

    def delay(self, now: float) -> float | None:
        """Seconds until another delivery may start, 0 for now; None: not before one has ended."""
        if self._window < WIDE and now - self._tired_at >= PEACE_S:
            self._window = WIDE
            self._pause_s = 0.0
        if self.running >= min(self._window, self.limit.concurrency or WIDE):
            return None
        return max(0.0, self._free_at - now)

    def start(self, now: float) -> None:
        """A delivery starts."""
        self.running += 1
        if self.limit.spacing_s:
            self._free_at = max(self._free_at, now) + self.limit.spacing_s

    def end(self, is_accepted: bool, has_enough: bool, now: float) -> None:
        """A delivery has ended: the message was accepted, or the destination has enough, or neither."""
        if has_enough:
            self._tired_at = now
            self._window = max(1.0, min(self._window, self.running) / 2)
            self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2 or FIRST_PAUSE_S)
            self._free_at = max(self._free_at, now + self._pause_s)
        elif is_accepted:
            self._pause_s = 0.0
            self._window = min(WIDE, self._window + 1)
        self.running -= 1

    def is_forgettable(self, now: float) -> bool:
        """Whether nothing would be lost if the destination were forgotten."""
        return self.running == 0 and self._free_at <= now and self._window >= WIDE


def is_tired(text: bytes) -> bool:
    """Tell from a report whether a destination wants less mail."""
    answer = text.partition(_SAID)[2]
    return answer[:3] in (b"421", b"450") or (answer[:1] == b"4" and answer[4:8] == b"4.7.")
