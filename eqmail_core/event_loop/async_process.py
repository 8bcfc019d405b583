"""Child processes on an event loop: their end, output and input, without blocking.

Fails: never by exception after the child has started; its exit code reports a failure.
"""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable

_PIECE = 65536
_LOOK_AGAIN_S = 0.05


def on_end(loop: asyncio.AbstractEventLoop, pid: int, done: Callable[[int], None]) -> None:
    """Call `done` with the exit code of a child when it ends, negative for a signal.

    The code is -1 for a child that another part of the process has reaped.
    """
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        _look(loop, pid, done)
        return

    def ended() -> None:
        loop.remove_reader(handle)
        os.close(handle)
        done(_code_of(pid, 0) or 0)

    loop.add_reader(handle, ended)


def _look(loop: asyncio.AbstractEventLoop, pid: int, done: Callable[[int], None]) -> None:
    """Poll for the end of a child, on systems without process descriptors."""
    code = _code_of(pid, os.WNOHANG)
    if code is None:
        loop.call_later(_LOOK_AGAIN_S, _look, loop, pid, done)
    else:
        loop.call_soon(done, code)


def _code_of(pid: int, options: int) -> int | None:
    try:
        found, status = os.waitpid(pid, options)
    except ChildProcessError:
        return -1
    return os.waitstatus_to_exitcode(status) if found else None


def kill(pid: int) -> None:
    """Kill a child that has not been reaped yet."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class PipeReader:
    """Reads a pipe: calls `hear(bytes)` for each piece until that returns False.

    b"" is the end of the pipe.
    """

    __slots__ = ("_fd", "_loop", "_on_data")

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, on_data: Callable[[bytes], bool]) -> None:
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd = fd
        self._on_data = on_data
        loop.add_reader(fd, self._readable)

    def close(self) -> None:
        """Stop reading and close the pipe."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not self._on_data(data) or not data:
            self.close()


class PipeWriter:
    """Writes bytes to a pipe in order without blocking; `broken` after an error.

    `on_drained()` is called whenever everything has been written, `waiting` counts the bytes that have not.
    """

    __slots__ = ("_fd", "_is_finishing", "_loop", "_on_drained", "_pieces", "broken", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, on_drained: Callable[[], None]) -> None:
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd = fd
        self._on_drained = on_drained
        self._pieces: deque[memoryview] = deque()
        self._is_finishing = False
        self.broken = False
        self.waiting = 0

    def write(self, data: bytes) -> None:
        """Queue bytes; they are dropped when the pipe is broken."""
        if self._fd < 0 or self.broken or not data:
            return
        if not self._pieces:
            self._loop.add_writer(self._fd, self._writable)
        self._pieces.append(memoryview(data))
        self.waiting += len(data)

    def end(self) -> None:
        """Close the pipe when everything has been written."""
        self._is_finishing = True
        if not self._pieces:
            self.close()

    def close(self) -> None:
        """Close the pipe now."""
        if self._fd >= 0:
            self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._pieces.clear()
            self.waiting = 0

    def _writable(self) -> None:
        try:
            while self._pieces:
                written = os.write(self._fd, self._pieces[0])
                self.waiting -= written
                if written < len(self._pieces[0]):
                    self._pieces[0] = self._pieces[0][written:]
                    return
                self._pieces.popleft()
        except BlockingIOError:
            return
        except OSError:
            self.broken = True
            self._pieces.clear()
            self.waiting = 0
        self._loop.remove_writer(self._fd)
        if self._is_finishing:
            self.close()
        self._on_drained()
