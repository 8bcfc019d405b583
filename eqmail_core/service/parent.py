"""Whether a process is stopped, above all the one that started us; `svc -p`, `sv pause` and `s6-svc -p` do it.

Source: proc(5), /proc/PID/stat; svc(8).
"""

import os

_STOPPED = b"T"
_LOOK_EVERY_S = 1.0


def is_stopped(pid: int) -> bool:
    """Whether this process is; one that is not there, or hidden, is not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read(512).rpartition(b")")[2].split()[:1] == [_STOPPED]
    except OSError:
        return False


class ParentMonitor:
    """Looks at the parent, at most once a second."""

    __slots__ = ("_is_stopped", "_looked_at", "_pid")

    def __init__(self) -> None:
        self._pid = os.getppid()
        self._looked_at = 0.0
        self._is_stopped = False

    def is_stopped(self, now: float) -> bool:
        """Whether it was stopped when we last looked; `now` is the time in seconds, by any clock."""
        if not 0 <= now - self._looked_at < _LOOK_EVERY_S:
            self._looked_at = now
            self._is_stopped = is_stopped(self._pid)
        return self._is_stopped
