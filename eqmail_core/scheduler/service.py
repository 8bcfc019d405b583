"""The resident scheduler: the process qmails, between the queue service and the delivery services.

One turn of the loop reads everything that has arrived, runs the core once and then sends all output at once: log lines
in one write, serials in one packet.

Long because it is one state machine.

Fails: a start that cannot succeed logs one line and raises SystemExit(111).
Source: queue.md 3.7; docs/INTERNALS.md.
"""

import asyncio
import gc
import os
import signal
import socket
import time
from collections.abc import Callable
from functools import partial

from eqmail_core.event_loop.event_loop import begin_service, new_event_loop
from eqmail_core.event_loop.memory_trimmer import MemoryTrimmer
from eqmail_core.event_loop.signals import install_signal_handlers
from eqmail_core.event_loop.thread_executor import ThreadExecutor
from eqmail_core.ipc.admission_protocol import LEASED, LOST, Admission
from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.queue.client.async_service import AsyncQueueClient
from eqmail_core.queue.format.channels import LOCAL, REMOTE
from eqmail_core.scheduler.control import SchedulerControl
from eqmail_core.scheduler.control_server import ControlServer
from eqmail_core.scheduler.core import (
    UMASK,
    SchedulerCore,
    SchedulerSettings,
    SchedulerStartError,
    Trigger,
    lock_for_scheduler,
)
from eqmail_core.scheduler.deliverer_links import DelivererLink, Deliverers
from eqmail_core.scheduler.inject_program import ProgramInjector
from eqmail_core.scheduler.inject_stream import StreamInjector
from eqmail_core.scheduler.links import QueueLink
from eqmail_core.scheduler.memory.queue import MemoryQueue
from eqmail_core.scheduler.ports import Delivery, Injector
from eqmail_core.service.parent import ParentMonitor
from eqmail_core.service.readiness import REPEATED_TERM_S, tell_failure, tell_ready
from eqmail_core.site.site import Site
from eqmail_core.system.descriptor_limit import raise_descriptor_limit
from eqmail_core.system.files import write_all
from eqmail_core.system.lease_file import LeaseFile

MEMORY_LIMIT = 20_000
"""Messages in memory at a time, at most; further ones go to the disk at once."""

LAST_LOG_S = 10.0
"""How long the end waits for a queue service that is gone."""

# Descriptors reserved for everything but messages.
_OTHER_DESCRIPTORS = 600
_GC_THRESHOLD = 50_000
_LONGEST_SLEEP_S = 86400.0


class ResidentSend:
    """The event loop around the core.

    `remotes`: sockets of the remote delivery services; `control`: the control socket.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        site: Site,
        log_fd: int,
        remotes: list[str],
        control: socket.socket | None = None,
    ) -> None:
        self._loop = loop
        self._log_fd = log_fd
        settings = SchedulerSettings(site)
        self._mutex = lock_for_scheduler(site)
        self._parent = ParentMonitor()
        self._turn_is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._exiting = False
        self._exits_since = 0.0
        self._ends_at_once = False
        self._quiet_since = 0.0
        self._is_leased = True
        self._lease = LeaseFile(site.queue.lease)
        self._error: BaseException | None = None
        worker = ThreadExecutor(loop, self.wake)
        self._queue = queue = QueueLink(
            loop,
            site.socket("queue"),
            self._admit,
            self._answered,
            self._serials,
            self._greeted,
            self.wake,
            self._malformed,
            self._on_lease,
        )
        injector: Injector
        if b"QMAILQUEUE" in os.environb:
            injector = ProgramInjector(site, os.environb, worker)
        else:
            injector = StreamInjector(loop, AsyncQueueClient(loop, site.socket("queue")), self.wake)
        local, remote = Deliverers(), Deliverers()
        limits = (min(settings.limits[LOCAL], site.spawn), min(settings.limits[REMOTE], site.spawn))
        self._core = core = SchedulerCore(site, settings, (local, remote), limits, queue, injector, worker)
        core.pause_remote()
        self._memory_queue = MemoryQueue(
            core.scheduler,
            core.completion,
            core.preprocessor,
            queue,
            worker,
            max(raise_descriptor_limit(MEMORY_LIMIT + _OTHER_DESCRIPTORS) - _OTHER_DESCRIPTORS, 1),
            queue if site.queue_database else None,
            settings.delay_s,
        )
        core.scheduler.results.on_failed_attempt = self._attempt_failed
        self._spiller = self._memory_queue.spiller
        core.is_held = self._memory_queue.is_held
        core.keeps_times.append(self._spiller)
        for deliverers, paths in ((local, [site.socket("local")]), (remote, remotes)):
            deliverers.links = [
                DelivererLink(loop, path, core.scheduler.results, core.files, core.log, self.wake) for path in paths
            ]
        self._deliverer_links = [wire.channel for wire in (*local.links, *remote.links)]
        self._trigger = Trigger(site.queue.trigger)
        self._control_server: ControlServer | None = None
        if control is not None:
            self._control_server = ControlServer(
                loop,
                control,
                SchedulerControl(core.scheduler, core.completion, self._memory_queue),
                worker,
                site.queue.root,
                self.wake,
            )

    def run(self) -> None:
        """Run until TERM and the end of the running deliveries."""
        loop, core = self._loop, self._core
        loop.set_exception_handler(self._on_unexpected_error)
        signals = {signal.SIGTERM: self._exit, signal.SIGALRM: core.retry_all, signal.SIGHUP: core.reread}
        install_signal_handlers(loop, {number: partial(self._on_signal, act) for number, act in signals.items()})
        core.start(time.time())
        MemoryTrimmer(loop, lambda: len(self._memory_queue.messages))
        self._watch_trigger()
        for wire in (*self._deliverer_links, self._queue.channel):
            wire.connect()
        tell_ready()
        self.wake()
        loop.run_forever()
        if self._error is not None:
            raise self._error

    def wake(self) -> None:
        """Run the core at the end of this turn of the loop."""
        if not self._turn_is_due:
            self._turn_is_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_is_due = False
        now = time.time()
        self._core.watch_clock(now)
        self._spiller.pump(now)
        stopped = b"qmail-start is stopped" if self._parent.is_stopped(now) else b""
        has_lease = self._is_leased and self._lease.lasts(self._memory_queue.lease_epoch)
        self._core.scheduler.pause(stopped or (b"" if has_lease else b"the lease of this node is over"))
        more = self._core.pump(now)
        self._write_log()
        self._queue.flush()
        if (self._core.can_end or self._ends_at_once) and self._can_end(self._loop.time()):
            self._end()
        elif more:
            self.wake()
        else:
            self._sleep(now)

    def _sleep(self, now: float) -> None:
        """Schedule the next turn; an earlier timer stays as it is."""
        looks_at = now + 0.2 if self._exiting else now + 1.0 if self._core.scheduler.paused else None
        times = [self._core.wakes_at(), self._spiller.wakes_at(), looks_at]
        wakes_at = min((time for time in times if time is not None), default=now + _LONGEST_SLEEP_S)
        at = self._loop.time() + max(wakes_at - now, 0.0)
        timer = self._timer
        if timer is None or timer.when() > at + 0.001:
            if timer is not None:
                timer.cancel()
            self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.wake()

    def _write_log(self) -> None:
        log = self._core.log
        if log.waiting:
            try:
                write_all(self._log_fd, log.take())
            except OSError:
                pass

    # Events

    def _admit(self, admission: Admission, fd: int) -> None:
        self._memory_queue.admit(admission, fd, time.time())

    def _attempt_failed(self, delivery: Delivery, reason: bytes, now: int) -> None:
        if not self._memory_queue.note_attempt(delivery, reason, now):
            self._core.attempts.note(delivery, reason, now)

    def _answered(self, serial: int, ok: bool) -> None:
        self._spiller.spill_answered(serial, ok)

    def _serials(self) -> list[int]:
        return self._memory_queue.serials

    def _greeted(self) -> None:
        self._spiller.resend_requests()

    def _on_lease(self, state: bytes, epoch: int) -> None:
        """Take the state of the lease of this node, of a shared queue."""
        self._is_leased = state == LEASED
        self._memory_queue.lease_epoch = epoch
        if state == LOST:
            self._spiller.lost()
        self.wake()

    def _malformed(self) -> None:
        self._core.log.warning(b"the queue service talks nonsense: will connect to it again")

    def _on_signal(self, act: Callable[[], None]) -> None:
        self._core.scheduler.now = int(time.time())
        act()
        self.wake()

    def _on_trigger(self) -> None:
        self._loop.remove_reader(self._trigger.fd)
        self._trigger.reset()
        self._core.scanner.triggered()
        self._watch_trigger()
        self.wake()

    def _watch_trigger(self) -> None:
        if self._trigger.fd >= 0 and not self._exiting:
            self._loop.add_reader(self._trigger.fd, self._on_trigger)

    def _on_unexpected_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """End at once after a bug.

        The parent restarts this process, and the queue service sends all messages again.
        """
        error = context.get("exception")
        self._error = error if isinstance(error, BaseException) else RuntimeError(str(context.get("message")))
        loop.stop()

    # End

    def _exit(self) -> None:
        """Begin to end (signal TERM); a second, later TERM ends without waiting for running deliveries."""
        now = self._loop.time()
        if self._exiting:
            self._ends_at_once = self._ends_at_once or now >= self._exits_since + REPEATED_TERM_S
            return
        self._exiting, self._exits_since = True, now
        if self._trigger.fd >= 0:
            self._loop.remove_reader(self._trigger.fd)
        if self._control_server is not None:
            self._control_server.end()
        self._core.exit()
        self._spiller.exit()

    def _can_end(self, now: float) -> bool:
        """Whether all is on the disk and reported, or no peer is left to report to.

        `now`: time of the loop.
        """
        if self._core.completion.running or self._core.scanner.busy:
            return False
        if self._memory_queue.messages and self._queue.is_ready():
            self._quiet_since = 0.0
            return self._spiller.is_stuck
        if not self._memory_queue.messages and self._queue.is_synchronized:
            return True
        self._quiet_since = self._quiet_since or now
        return now > self._quiet_since + LAST_LOG_S

    def _end(self) -> None:
        self._spiller.give_up()
        for wire in self._deliverer_links:
            wire.end()
        self._core.end()
        self._write_log()
        self._queue.channel.end()
        self._loop.stop()


def run(site: Site, log_fd: int, remotes: list[str], control: socket.socket | None = None) -> None:
    """Schedule until TERM; `remotes`: the sockets of the remote delivery services.

    `control`: the listening socket for administrators' requests.
    """
    begin_service(site, "qmails")
    os.umask(UMASK)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    gc.set_threshold(_GC_THRESHOLD)
    loop = new_event_loop()
    try:
        ResidentSend(loop, site, log_fd, remotes, control).run()
    except SchedulerStartError as reason:
        tell_failure(f"cannot start: {reason}")
        try:
            write_all(log_fd, b"alert: cannot start: %b\n" % reason.text)
        except OSError:
            pass
        raise SystemExit(EXIT_TEMPORARY) from reason
    finally:
        loop.close()
