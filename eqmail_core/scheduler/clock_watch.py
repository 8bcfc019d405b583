"""Detects a system clock that was set back, so that nothing waits for the repeated time."""

LEAST_S = 2
"""Smaller steps are ignored."""


class ClockWatch:
    """Compares the clock with its previous value."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0.0

    def set_back_by(self, now: float) -> int:
        """Return by how many seconds the clock was set back since the last call; 0 if it was not."""
        back, self._last = int(self._last - now), now
        return back if back >= LEAST_S else 0
