"""A client on two descriptors with time limits, for a process with one client.  Light.

Fails: TimedOut, ConnectionLost.
"""

import os
import select
import time

from eqmail_core.system.files import CHUNK


class TimedOut(Exception):
    """The client did not read or write within the time limit."""


class ConnectionLost(Exception):
    """The client closed the connection; `reading`: while this process waited for input."""

    def __init__(self, reading: bool) -> None:
        super().__init__()
        self.reading = reading


class TimedStream:
    """A client on two descriptors; each read and write has a time limit."""

    def __init__(self, timeout_s: int, reading: int = 0, writing: int = 1) -> None:
        self._timeout_ms = max(1, timeout_s) * 1000
        # When reading ends in any case, in terms of `time.monotonic`; None: never.
        self.deadline: float | None = None
        self._reading = reading
        self._writing = writing

    def read(self, at_most: int = CHUNK) -> bytes:
        """Read some bytes.  Fails: TimedOut, ConnectionLost."""
        left_ms = self._timeout_ms
        if self.deadline is not None:
            left_ms = min(left_ms, max(0, int((self.deadline - time.monotonic()) * 1000)))
        self._wait(self._reading, select.POLLIN, left_ms)
        try:
            data = os.read(self._reading, at_most)
        except OSError as error:
            raise ConnectionLost(reading=True) from error
        if not data:
            raise ConnectionLost(reading=True)
        return data

    def write(self, data: bytes) -> None:
        """Write all bytes.  Fails: TimedOut, ConnectionLost."""
        view = memoryview(data)
        while view:
            self._wait(self._writing, select.POLLOUT, self._timeout_ms)
            try:
                view = view[os.write(self._writing, view[:CHUNK]) :]
            except OSError as error:
                raise ConnectionLost(reading=False) from error

    def speaks_within(self, seconds: float) -> bool:
        """Wait for input of the client without reading it; False at the time limit."""
        poller = select.poll()
        poller.register(self._reading, select.POLLIN)
        return bool(poller.poll(seconds * 1000))

    def close(self) -> None:
        """End the output; nothing more will be written."""

    def _wait(self, fd: int, what: int, timeout_ms: int) -> None:
        poller = select.poll()
        poller.register(fd, what)
        if not poller.poll(timeout_ms):
            raise TimedOut
