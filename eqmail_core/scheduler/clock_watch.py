"""Notices that the clock of the system was set back, so that nothing waits for the time that comes twice."""

LEAST_S = 2
"""Smaller steps are as good as none."""


class ClockWatch:
    """Compares the clock with what it showed before."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0.0

    def set_back_by(self, now: float) -> int:
        """By how many seconds the clock was set back since the last call; 0 where it was not."""
        back, self._last = int(self._last - now), now
        return back if back >= LEAST_S else 0
