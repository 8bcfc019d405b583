"""Detects whether a process is stopped, in particular the parent.

`svc -p`, `sv pause` and `s6-svc -p` stop processes.

Source: proc(5), /proc/PID/stat; svc(8).
"""

import os

_STOPPED = b"T"
_LOOK_EVERY_S = 1.0


def is_stopped(pid: int) -> bool:
    """Tell whether this process is stopped; False if it does not exist or is hidden."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read(512).rpartition(b")")[2].split()[:1] == [_STOPPED]
    except OSError:
        return False


class ParentMonitor:
    """Checks the parent, at most once a second."""

    __slots__ = ("_is_stopped", "_looked_at", "_pid")

    def __init__(self) -> None:
        self._pid = os.getppid()
        self._looked_at = 0.0
        self._is_stopped = False

    def is_stopped(self, now: float) -> bool:
        """Tell whether it was stopped at the last check; `now`: seconds of any clock."""
        if not 0 <= now - self._looked_at < _LOOK_EVERY_S:
            self._looked_at = now
            self._is_stopped = is_stopped(self._pid)
        return self._is_stopped
