"""One service as its supervisor manages it: what it runs, its process and its state.

A process has only its own descriptors.  It has neither the sockets of other services nor the lock of the installation.

Fails: OSError from `fork`.
"""

import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import NoReturn

from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.service.readiness import ReadinessReport, adopt, tell_failure
from eqmail_core.service.status import DOWN, READY, STARTING, ServiceStatus
from eqmail_core.system import kernel
from eqmail_core.system.log import log_line
from eqmail_core.system.privileges import PrivilegeError
from eqmail_core.system.process_title import set_process_title

NAME = "qmail-start"


class SupervisedService:
    """One resident process: its name, what it runs, its rank at the end, the signals it gets.

    `run` is called in the child and returns after TERM.  `load` is called in the parent just before the first start:
    services share the code loaded for them and for those before them.  Services are ended in the order of `last`: 0
    first, then 1, and so on, each rank after the end of the previous one.  A process keeps its `listeners` and the
    descriptors of `kept`, and no others.  One that `becomes_program` counts as ready as soon as it has executed that
    program.  ps shows it as `program`, serving `purpose`.
    """

    __slots__ = (
        *("becomes_program", "ended_at", "ends", "readiness", "kept", "last", "listeners", "load", "name", "pause_s"),
        *("pid", "program", "purpose", "reason", "run", "signals", "since", "start_at", "state_since"),
    )

    def __init__(
        self,
        name: str,
        run: Callable[[], None],
        listeners: list[socket.socket],
        last: int,
        signals: tuple[signal.Signals, ...] = (),
        load: Callable[[], object] = lambda: None,
        kept: tuple[int, ...] = (),
        becomes_program: bool = False,
        program: str = "",
        purpose: str = "",
    ) -> None:
        self.name = name
        self.program = program or f"qmail-{name}"
        self.purpose = purpose
        self.run = run
        self.listeners = listeners
        self.last = last
        self.signals = signals
        self.load = load
        self.kept = kept
        self.becomes_program = becomes_program
        self.pid = 0
        self.since = self.start_at = self.pause_s = 0.0
        self.readiness: ReadinessReport | None = None
        self.ends = self.ended_at = self.state_since = 0
        self.reason = ""

    @property
    def is_ready(self) -> bool:
        """Tell whether it runs and serves."""
        readiness = self.readiness
        return bool(self.pid and readiness and (readiness.is_ready or (self.becomes_program and readiness.is_closed)))

    def listen(self) -> bool:
        """Read the reports of the process; return whether it has become ready."""
        if self.readiness is None:
            return False
        was_ready = self.is_ready
        self.readiness.listen()
        if self.is_ready and not was_ready:
            self.state_since = int(time.time())
            return True
        return False

    def fork(self, others: "set[socket.socket]", blocked: "set[signal.Signals]") -> None:
        """Start the process without the sockets `others`, and unblock the signals `blocked` in it.

        The parent gets SIGIO when the process reports something.  Fails: OSError.
        """
        self.since, self.state_since = time.monotonic(), int(time.time())
        reader, readiness_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self.pid = os.fork()
        except OSError:
            os.close(reader)
            os.close(readiness_fd)
            raise
        if not self.pid:
            self._become(readiness_fd, others, blocked)
        os.close(readiness_fd)
        self.readiness = ReadinessReport(reader)
        _have_signalled(reader)

    def note_end(self, invoked_by: str) -> None:
        """Record the end of the process, or its failed start, and the reason."""
        self.pid = 0
        self.ends += 1
        self.ended_at = self.state_since = int(time.time())
        reported = ""
        if self.readiness is not None:
            self.readiness.listen()
            reported = self.readiness.reason
            self.readiness.close()
            self.readiness = None
        self.reason = reported or invoked_by

    def _become(self, readiness_fd: int, others: "set[socket.socket]", blocked: "set[signal.Signals]") -> NoReturn:
        """Run the service in the child; never returns."""
        code = EXIT_TEMPORARY
        try:
            adopt(readiness_fd)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
            for sock in others:
                sock.close()
            kernel.close_all_but({0, 1, 2, readiness_fd, *self.kept, *(sock.fileno() for sock in self.listeners)})
            set_process_title(self.program, self.purpose)
            kernel.end_with_parent()
            self.run()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else code
        except BaseException as error:
            reason = _reason(error)
            tell_failure(reason)
            log_line(NAME, f"fatal: {self.name}: {reason}")
        finally:
            os._exit(code)

    def close(self) -> None:
        """Close its sockets, so that no client waits there."""
        for sock in self.listeners:
            sock.close()

    def status(self) -> ServiceStatus:
        """The state of the service, for the record."""
        state = READY if self.is_ready else STARTING if self.pid else DOWN
        return ServiceStatus(self.name, self.pid, state, self.state_since, self.ends, self.ended_at, self.reason)


def _have_signalled(fd: int) -> None:
    """Request SIGIO when `fd` becomes readable, so that the parent waits for signals only."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
    except (OSError, AttributeError):
        pass  # then it is polled


def _reason(error: BaseException) -> str:
    """Describe an exception in readable text; if it indicates a bug, with its source line."""
    if isinstance(error, PrivilegeError):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if type(error).__module__.startswith("eqmail_core.") and isinstance(error, Exception):
        return str(error)
    return f"{type(error).__name__}: {error}{_where(error)}"


def _where(error: BaseException) -> str:
    """The innermost source line of an exception, for the report of a bug."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f" ({os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno})" if trace else ""
