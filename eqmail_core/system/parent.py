"""Whether the process that started us is stopped, as `svc -p`, `sv pause` and `s6-svc -p` do it with a service.

Source: proc(5), /proc/PID/stat; svc(8).
"""

import os

_STOPPED = b"T"
_LOOK_EVERY_S = 1.0


class ParentWatch:
    """Looks at most once a second.  Where there is no /proc, or it hides the parent, nobody is stopped."""

    __slots__ = ("_is_stopped", "_looked_at", "_path")

    def __init__(self) -> None:
        self._path = f"/proc/{os.getppid()}/stat"
        self._looked_at = 0.0
        self._is_stopped = False

    def is_stopped(self, now: float) -> bool:
        """Whether it was stopped when we last looked; `now` is the time in seconds, by any clock."""
        if not 0 <= now - self._looked_at < _LOOK_EVERY_S:
            self._looked_at = now
            try:
                with open(self._path, "rb") as file:
                    self._is_stopped = file.read(512).rpartition(b")")[2].split()[:1] == [_STOPPED]
            except OSError:
                self._is_stopped = False
        return self._is_stopped
