"""The pipe on which a service reports to its supervisor that it serves, or why it cannot.

A process that was not started by a supervisor reports nothing.  A report never blocks and never fails.

Source: sd_notify(3), whose READY=1 waits for this.
"""

import os

REPEATED_TERM_S = 1.0
"""A second TERM ends a service at once only this long after the first, because some managers send two at once."""

_READY = b"+"
_REASON = b"-"
_MAX = 4096
_LONGEST_REASON = 500
_supervisor_fd = -1


def adopt(fd: int) -> None:
    """Report to the supervisor at the other end of `fd` from now on."""
    global _supervisor_fd
    _supervisor_fd = fd


def tell_ready() -> None:
    """Report that all settings are read and all sockets are served."""
    _tell(_READY + b"\n")


def tell_failure(reason: str) -> None:
    """Report why this process is about to end, in one sentence."""
    text = reason.encode("utf-8", "surrogateescape").replace(b"\n", b"/").replace(b"\0", b"/")
    _tell(_REASON + text[:_LONGEST_REASON] + b"\n")


def _tell(line: bytes) -> None:
    if _supervisor_fd >= 0:
        try:
            os.write(_supervisor_fd, line)
        except OSError:
            pass  # the supervisor has gone, or does not read; there is no other reader


class ReadinessReport:
    """The reports of one process: `is_ready`, the last `reason`, and whether it `is_closed`."""

    __slots__ = ("_fd", "_rest", "is_closed", "is_ready", "reason")

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._rest = b""
        self.is_ready = self.is_closed = False
        self.reason = ""

    def listen(self) -> None:
        """Read pending reports, a few KiB at most."""
        if self.is_closed:
            return
        try:
            data = os.read(self._fd, _MAX)
        except BlockingIOError:
            return
        if not data:
            self.close()
            return
        *lines, self._rest = (self._rest + data)[-_MAX:].split(b"\n")
        for line in lines:
            if line.startswith(_READY):
                self.is_ready = True
            elif line.startswith(_REASON):
                self.reason = line[1:].decode("utf-8", "replace")

    def close(self) -> None:
        """Close the pipe."""
        if not self.is_closed:
            self.is_closed = True
            os.close(self._fd)
