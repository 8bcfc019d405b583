"""The loop of a classic spawner: commands on descriptor 0, a child for each, reports on 1.

The caller decides what the child does and how its end becomes a report.  A delivery is started only if qmail-send could
have requested it: the message must be a regular file of the queue's owner.

Fails: OSError when the pipes to qmail-send are broken.
Source: queue.md 3.11; spawn.c.
"""

import os
import selectors
import signal
import stat
from collections.abc import Callable

from eqmail_core.outcome import TEMPORARY, DeliveryResult
from eqmail_core.spawn.protocol import (
    NO_FORK,
    NO_MESSAGE,
    WRONG_OWNER,
    WRONG_TYPE,
    Command,
    CommandReader,
    rejection,
    report,
)
from eqmail_core.system.files import write_all

_PIECE = 4096
_WAKE = "wake"


class _Running:
    """A running delivery: its child and the pipe of its output, each until it ends."""

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid = pid
        self.pipe = pipe
        self.code: int | None = None
        self.output = b""


class ClassicSpawner:
    """Runs at most `limit` deliveries at a time; the working directory is the queue's mess/.

    `act(command)` is called in the child, with descriptor 0 the message and 1 and 2 its output, and returns the exit
    code.  `report_of(code, output)` makes the result; a negative code is a signal.  `keep_bytes` of the output are
    kept, and a remark is added if there was more; 0 keeps all.
    """

    def __init__(
        self,
        limit: int,
        owner: int,
        act: Callable[[Command], int],
        report_of: Callable[[int, bytes], DeliveryResult],
        keep_bytes: int = 0,
    ) -> None:
        self._limit = limit
        self._owner = owner
        self._act = act
        self._report_of = report_of
        self._keep = keep_bytes
        self._running: dict[int, _Running] = {}
        self._selector = selectors.PollSelector()

    def run(self) -> None:
        """Serve until descriptor 0 ends and every delivery has been reported."""
        wake, woken = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._selector.register(0, selectors.EVENT_READ, None)
        self._selector.register(wake, selectors.EVENT_READ, _WAKE)
        commands = CommandReader()
        write_all(1, bytes((self._limit,)))
        reading = True
        while reading or self._running:
            for key, _ in self._selector.select():
                if key.data is None:
                    data = os.read(0, _PIECE)
                    for command in commands.feed(data):
                        self._start(command)
                    if not data:
                        reading = False
                        self._selector.unregister(0)
                elif key.data == _WAKE:
                    os.read(wake, _PIECE)
                    self._reap()
                else:
                    self._collect(key.data)

    def _start(self, command: Command) -> None:
        problem = self._rejection(command)
        if not problem:
            try:
                message = os.open(command.name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                problem = NO_MESSAGE
            else:
                problem = self._start_with(command, message)
                os.close(message)
        if problem is not None:
            write_all(1, report(command.delnum, problem))

    def _rejection(self, command: Command) -> DeliveryResult | None:
        if command.delnum >= self._limit:
            return DeliveryResult(TEMPORARY, b"Internal error: delnum too big. (#4.3.5)\n")
        if command.delnum in self._running:
            return DeliveryResult(TEMPORARY, b"Internal error: delnum in use. (#4.3.5)\n")
        return rejection(command)

    def _start_with(self, command: Command, message: int) -> DeliveryResult | None:
        status = os.fstat(message)
        if not stat.S_ISREG(status.st_mode):
            return WRONG_TYPE
        if status.st_uid != self._owner:
            return WRONG_OWNER
        try:
            reading, writing = os.pipe()
        except OSError:
            return DeliveryResult(TEMPORARY, b"qmail-spawn unable to create pipe. (#4.3.0)\n")
        try:
            pid = os.fork()
        except OSError:
            os.close(reading)
            os.close(writing)
            return NO_FORK
        if pid == 0:
            self._run_child(command, message, writing)
        os.close(writing)
        self._running[command.delnum] = _Running(pid, reading)
        self._selector.register(reading, selectors.EVENT_READ, command.delnum)
        return None

    def _run_child(self, command: Command, message: int, output: int) -> None:
        code = 111
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.dup2(message, 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            code = self._act(command)
        finally:
            os._exit(code)

    def _collect(self, delnum: int) -> None:
        child = self._running[delnum]
        data = os.read(child.pipe, _PIECE)
        if data:
            child.output += data
            if self._keep:
                child.output = child.output[: self._keep + 1]
            return
        self._selector.unregister(child.pipe)
        os.close(child.pipe)
        child.pipe = -1
        self._finish(delnum)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for delnum, child in list(self._running.items()):
                if child.pid == pid:
                    child.code = os.waitstatus_to_exitcode(status)
                    self._finish(delnum)

    def _finish(self, delnum: int) -> None:
        """Report a delivery whose child has ended and whose output is complete."""
        child = self._running[delnum]
        if child.code is None or child.pipe >= 0:
            return
        del self._running[delnum]
        write_all(1, report(delnum, self._report_of(child.code, bounded(child.output, self._keep))))


def bounded(output: bytes, keep_bytes: int) -> bytes:
    """Output cut at `keep_bytes` with a remark; 0 means no limit."""
    if not keep_bytes or len(output) <= keep_bytes:
        return output
    return output[:keep_bytes] + b"\nError report too long, sorry.\n"
