"""Deliveries that need more than a Maildir: each in its own process, like a qmail-local.

At most `MAX_CONCURRENT` run at a time; more wait.  Their output is bounded.  A report is sent when the process has
ended and its output is closed.  Processes that it left behind may hold the output; these are awaited for a limited
time.

Source: qmail-lspawn.c; ADR 7.
"""

import os
import select
import time
from collections import deque
from collections.abc import Callable, Mapping

from eqmail_core.local.delivery.deliver import deliver
from eqmail_core.local.delivery.program import limit_s
from eqmail_core.local.delivery.report import KEPT_OUTPUT, local_report
from eqmail_core.local.service.maildir_batch import delivery_of
from eqmail_core.local.service.protocol import AgentOrder
from eqmail_core.outcome import (
    DSN_RELAYED,
    DURABLE,
    EXIT_DONE,
    EXIT_TEMPORARY,
    EXPANDED,
    DeliveryResult,
    Failure,
    TemporaryFailure,
)
from eqmail_core.site.site import Site
from eqmail_core.spawn.protocol import NO_FORK
from eqmail_core.spawn.spawner import bounded
from eqmail_core.system.files import write_all
from eqmail_core.system.kernel import close_all_but
from eqmail_core.system.memory_limit import lift_bound
from eqmail_core.system.message_file import MessageFile

MAX_CONCURRENT = 64
"""Maximum number of subprocess deliveries of one agent at a time; more wait."""

# Exit codes by which the child passes on the disposition.
_CODES = {DURABLE: EXIT_DONE, DSN_RELAYED: 96, EXPANDED: 97}
_DISPOSITIONS = {code: disposition for disposition, code in _CODES.items()}

LOOK_S = 1.0
"""Interval of checks for ended deliveries whose output is still open, in seconds."""

OUTPUT_S = 60
"""How long the output of an ended delivery is still read, in seconds, unless `programseconds` is set."""

_PIECE = 65536


class _Running:
    """A running delivery: its process, its output so far, and when reading ends after its exit."""

    __slots__ = ("number", "output", "pid", "until")

    def __init__(self, number: int, pid: int) -> None:
        self.number = number
        self.pid = pid
        self.output = b""
        self.until: float | None = None

    def has_ended(self) -> bool:
        """Tell whether the process has exited; it is not reaped yet."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class DeliverySubprocesses:
    """Running and waiting deliveries; `report(id, result)` receives the reports.

    `poll` watches the outputs.  `memory` is the limit of the deliveries, which may run any program, as `bound_memory`
    returns it; -1 for no limit.
    """

    def __init__(
        self,
        site: Site,
        default: bytes,
        environ: Mapping[bytes, bytes],
        poll: select.poll,
        report: Callable[[int, DeliveryResult], None],
        memory: int = -1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site = site
        self._default = default
        self._environ = environ
        self._poll = poll
        self._report = report
        self._memory = memory
        self._clock = clock
        self._look_at = clock() + LOOK_S
        self._running: dict[int, _Running] = {}
        self._waiting: deque[AgentOrder] = deque()

    def accept(self, orders: list[AgentOrder]) -> None:
        """Deliver these orders and take over their descriptors."""
        self._waiting += orders
        self._start_waiting()

    def collect(self, fd: int) -> None:
        """Read output of a delivery, and report it at end of file."""
        child = self._running[fd]
        data = os.read(fd, _PIECE)
        if data:
            child.output = (child.output + data)[: KEPT_OUTPUT + 1]
            return
        self._finish(fd)

    @property
    def look_in_s(self) -> float | None:
        """Seconds until `look` is due; None while nothing runs."""
        return max(0.0, self._look_at - self._clock()) if self._running else None

    def look(self) -> None:
        """Finish ended deliveries whose output stays open for too long; at most once per `LOOK_S`."""
        now = self._clock()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        for fd, child in list(self._running.items()):
            if child.until is None and child.has_ended():
                child.until = now + self._output_s()
            elif child.until is not None and now >= child.until:
                self._finish(fd)

    def _output_s(self) -> int:
        try:
            return limit_s(self._site, self._environ) or OUTPUT_S
        except TemporaryFailure:
            return OUTPUT_S

    def _finish(self, fd: int) -> None:
        """Report a delivery and close its output, even if another process still holds it open."""
        child = self._running.pop(fd)
        self._poll.unregister(fd)
        os.close(fd)
        code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        disposition = _DISPOSITIONS.get(code, DURABLE)
        code = EXIT_DONE if code in _DISPOSITIONS else code
        self._report(child.number, local_report(code, bounded(child.output, KEPT_OUTPUT), disposition))
        self._start_waiting()

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < MAX_CONCURRENT:
            self._start(self._waiting.popleft())

    def _start(self, request: AgentOrder) -> None:
        reading = writing = -1
        try:
            reading, writing = os.pipe()
            pid = os.fork()
        except OSError:
            for fd in (request.fd, reading, writing):
                if fd >= 0:
                    os.close(fd)
            self._report(request.number, NO_FORK)
            return
        if pid == 0:
            self._run_child(request, writing)
        os.close(writing)
        os.close(request.fd)
        self._running[reading] = _Running(request.number, pid)
        self._poll.register(reading, select.POLLIN)

    def _run_child(self, request: AgentOrder, output: int) -> None:
        """Run the delivery in the child; never returns.

        It has the descriptors and the exit code of qmail-local.
        """
        code = EXIT_TEMPORARY
        try:
            lift_bound(self._memory)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.dup2(MessageFile(request.fd).reopen(), 0)
            close_all_but({0, 1, 2})
            result = deliver(self._site, delivery_of(self._default, request), 0, self._environ)
            write_all(1, result.text)
            code = _CODES[result.disposition]
        except Failure as failure:
            if failure.text:
                write_all(2, failure.text + b"\n")
            code = failure.exit_code
        except Exception as error:
            write_all(2, f"Unable to deliver: {type(error).__name__}: {error}. (#4.3.0)\n".encode())
        finally:
            os._exit(code)
