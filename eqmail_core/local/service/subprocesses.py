"""Deliveries that need more than a Maildir: each in a process of its own, what a qmail-local would be.

So many run at a time; more wait.  Their output is bounded, their end is their report.  The end is that of the process
and of its output, which others may hold that it has left behind: these are awaited for a while only.

Source: qmail-lspawn.c; architecture section 6, "resident agents".
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
from eqmail_core.outcome import EXIT_DONE, EXIT_TEMPORARY, EXPANDED, LASTING, TAKEN_OVER, Failure, TemporaryFailure
from eqmail_core.site.site import Site
from eqmail_core.spawn.spawner import bounded
from eqmail_core.system.files import write_all
from eqmail_core.system.memory_limit import lift_bound
from eqmail_core.system.message_file import MessageFile

MAX_CONCURRENT = 64
"""Deliveries apart that one agent runs at a time; more wait."""

# How the child says what it has come to.
_CODES = {LASTING: EXIT_DONE, TAKEN_OVER: 96, EXPANDED: 97}
_FATES = {code: fate for fate, code in _CODES.items()}

LOOK_S = 1.0
"""How often deliveries are looked at that have an output still."""

OUTPUT_S = 60
"""How long the output of a delivery is read that has ended, where `programseconds` does not say."""

_NO_FORK = b"Zqmail-spawn unable to fork. (#4.3.0)\n"
_PIECE = 65536


class _Running:
    """A delivery in a process of its own, what it has said so far, and until when more is read once it has ended."""

    __slots__ = ("number", "output", "pid", "until")

    def __init__(self, number: int, pid: int) -> None:
        self.number = number
        self.pid = pid
        self.output = b""
        self.until: float | None = None

    def has_ended(self) -> bool:
        """Tell whether its process has, which is not collected yet."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class DeliverySubprocesses:
    """What runs and what waits to run; `report(id, fate, text)` gets the reports, `poll` watches the outputs.

    `memory` bounds the deliveries, which may be any programs, as `bound_memory` tells it; -1 for no bound.
    """

    def __init__(
        self,
        site: Site,
        default: bytes,
        environ: Mapping[bytes, bytes],
        poll: select.poll,
        report: Callable[[int, bytes, bytes], None],
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
        """Deliver these, whose descriptors are ours from now on."""
        self._waiting += orders
        self._start_waiting()

    def collect(self, fd: int) -> None:
        """Take output of a delivery, and report it at its end."""
        it = self._running[fd]
        data = os.read(fd, _PIECE)
        if data:
            it.output = (it.output + data)[: KEPT_OUTPUT + 1]
            return
        self._finish(fd)

    @property
    def look_in_s(self) -> float | None:
        """Seconds until `look` is due; None while nothing runs."""
        return max(0.0, self._look_at - self._clock()) if self._running else None

    def look(self) -> None:
        """End the deliveries whose processes have ended, and whose output others hold for too long; not too often."""
        now = self._clock()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        for fd, it in list(self._running.items()):
            if it.until is None and it.has_ended():
                it.until = now + self._output_s()
            elif it.until is not None and now >= it.until:
                self._finish(fd)

    def _output_s(self) -> int:
        try:
            return limit_s(self._site, self._environ) or OUTPUT_S
        except TemporaryFailure:
            return OUTPUT_S

    def _finish(self, fd: int) -> None:
        """Report a delivery; whoever holds its output has no reader any more."""
        it = self._running.pop(fd)
        self._poll.unregister(fd)
        os.close(fd)
        code = os.waitstatus_to_exitcode(os.waitpid(it.pid, 0)[1])
        disposition = _FATES.get(code, LASTING)
        report = local_report(EXIT_DONE if code in _FATES else code, bounded(it.output, KEPT_OUTPUT))
        self._report(it.number, disposition, report)
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
            self._report(request.number, LASTING, _NO_FORK)
            return
        if pid == 0:
            self._run_child(request, writing)
        os.close(writing)
        os.close(request.fd)
        self._running[reading] = _Running(request.number, pid)
        self._poll.register(reading, select.POLLIN)

    def _run_child(self, request: AgentOrder, output: int) -> None:
        """The child: what a qmail-local would be, with its descriptors and its exit code; never returns."""
        code = EXIT_TEMPORARY
        try:
            lift_bound(self._memory)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.dup2(MessageFile(request.fd).reopen(), 0)
            os.closerange(3, 1 << 30)
            text, disposition = deliver(self._site, delivery_of(self._default, request), 0, self._environ)
            write_all(1, text)
            code = _CODES[disposition]
        except Failure as failure:
            if failure.text:
                write_all(2, failure.text + b"\n")
            code = failure.exit_code
        except Exception as surprise:
            write_all(2, f"Unable to deliver: {type(surprise).__name__}: {surprise}. (#4.3.0)\n".encode())
        finally:
            os._exit(code)
