"""qmail-send as in C, on descriptors 0 to 6.

Log on 0, spawners on 1 to 4, qmail-clean on 5 and 6; bounces go through qmail-queue.

One turn of the loop: signals, commands to the spawners, their reports, one new message, attempts, completions.

Source: queue.md 3.7, 3.11 (qmail-send.c); programs.md 1.4.
"""

import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping

from eqmail_core.outcome import EXIT_TEMPORARY, DeliveryResult
from eqmail_core.queue.files import QueueFiles
from eqmail_core.queue.format.channels import LOCAL, REMOTE
from eqmail_core.scheduler.core import (
    UMASK,
    SchedulerCore,
    SchedulerSettings,
    SchedulerStartError,
    Trigger,
    lock_for_scheduler,
)
from eqmail_core.scheduler.inject_program import ProgramInjector
from eqmail_core.scheduler.ports import Delivery, InlineExecutor
from eqmail_core.site.site import Site
from eqmail_core.system.files import CHUNK, write_all

LOG_FD, CLEAN_TO, CLEAN_FROM = 0, 5, 6
SPAWN_TO = (1, 3)
SPAWN_FROM = (2, 4)

REPORT_BYTES = 10000
"""Longest report in bytes, with its delivery number and outcome letter; the rest is cut off."""

MAX_SLEEP_S = 86400.0


class SpawnerPipe:
    """The pipes to one spawner: commands with a delivery number out, reports with that number back."""

    def __init__(self, files: QueueFiles, to_fd: int, from_fd: int, limit: int) -> None:
        self.alive = True
        self.to_fd = to_fd
        self.from_fd = from_fd
        self.command = b""
        self._files = files
        self._slots: list[Delivery | None] = [None] * limit
        self._report = bytearray()

    def is_ready(self) -> bool:
        """Whether the spawner is alive and has read the last command."""
        return self.alive and not self.command

    def deliver(self, delivery: Delivery, sender: bytes) -> None:
        """Send the command, as far as the pipe has room now."""
        slot = self._slots.index(None)
        self._slots[slot] = delivery
        name = self._files.paths.split_name(delivery.job.number).encode()
        self.command = b"%c%b\0%b\0%b\0" % (slot, name, sender, delivery.recipient)

    def flush(self) -> None:
        """Write the buffered commands.  Fails: OSError when the spawner is gone."""
        try:
            self.command = self.command[os.write(self.to_fd, self.command) :]
        except BlockingIOError:
            pass

    def reports(self, data: bytes) -> Iterator[tuple[Delivery | None, DeliveryResult]]:
        """Yield delivery and result of each complete report.

        The delivery is None for a number out of range.
        """
        report = self._report
        start = 0
        while start < len(data):
            if not report:
                report += data[start : start + 1]
                start += 1
                continue
            end = data.find(0, start)
            stop = end if end >= 0 else len(data)
            report += data[start : min(stop, start + REPORT_BYTES - len(report))]
            start = stop
            if end >= 0:
                start = end + 1
                slot, result = report[0], DeliveryResult.from_report(bytes(report[1:]))
                report.clear()
                delivery = self._slots[slot] if slot < len(self._slots) else None
                if delivery is not None:
                    self._slots[slot] = None
                yield delivery, result


class CleanProgram:
    """The pipes to qmail-clean, which answers every request before it reads the next."""

    def __init__(self) -> None:
        self.alive = True

    def is_ready(self) -> bool:
        """Whether qmail-clean is alive."""
        return self.alive

    def clean(self, name: bytes, then: Callable[[bytes], None]) -> None:
        """Send a request and wait for the answer."""
        answer = b""
        if self.alive:
            try:
                write_all(CLEAN_TO, name + b"\0")
                answer = os.read(CLEAN_FROM, 1)
            except OSError:
                pass
            self.alive = bool(answer)
        if answer:
            then(answer)


class ClassicSend:
    """The event loop around the core."""

    def __init__(self, site: Site, environ: Mapping[bytes, bytes]) -> None:
        settings = SchedulerSettings(site)
        self._mutex = lock_for_scheduler(site)
        limits = tuple(min(limit, _spawn_limit(fd)) for limit, fd in zip(settings.limits, SPAWN_FROM, strict=True))
        files = QueueFiles(site.queue)
        self._spawners = tuple(SpawnerPipe(files, SPAWN_TO[c], SPAWN_FROM[c], limits[c]) for c in (LOCAL, REMOTE))
        self._cleaner = CleanProgram()
        self._trigger = Trigger(site.queue.trigger)
        self._core = SchedulerCore(
            site,
            settings,
            (self._spawners[LOCAL], self._spawners[REMOTE]),
            (limits[LOCAL], limits[REMOTE]),
            self._cleaner,
            ProgramInjector(site, environ, InlineExecutor()),
            InlineExecutor(),
        )
        self._acts: dict[int, Callable[[], None]] = {
            signal.SIGTERM: self._core.exit,
            signal.SIGALRM: self._core.retry_all,
            signal.SIGHUP: self._core.reread,
        }
        self._arrived: set[int] = set()
        self._wake_read, wake_write = os.pipe()
        for fd in (self._wake_read, wake_write, *SPAWN_TO):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in self._acts:
            signal.signal(number, lambda number, frame: self._arrived.add(number))

    def run(self) -> None:
        """Run until TERM and the end of the running deliveries."""
        core = self._core
        core.start(time.time())
        self._write_log()
        more = True
        while True:
            self._run_signal_handlers()
            if core.can_end:
                break
            self._wait(0.0 if more else self._sleep_s())
            now = time.time()
            core.watch_clock(now)
            more = core.pump(now)
            self._flush_commands()
            if not self._cleaner.alive and not core.scheduler.exiting:
                core.log.alert(b"oh no! lost qmail-clean connection! dying...")
                core.exit()
            self._write_log()
        core.end()
        self._write_log()

    def _run_signal_handlers(self) -> None:
        self._core.scheduler.now = int(time.time())
        for number in tuple(self._arrived):
            self._arrived.discard(number)
            self._acts[number]()

    def _sleep_s(self) -> float:
        if self._arrived:
            return 0.0
        wakes_at = self._core.wakes_at()
        now = time.time()
        if wakes_at is None:
            return MAX_SLEEP_S
        return min(max(wakes_at - now, 0.0), MAX_SLEEP_S)

    def _wait(self, seconds: float) -> None:
        """Sleep until something happens, then read what arrived."""
        core = self._core
        reading = [self._wake_read, *(spawner.from_fd for spawner in self._spawners if spawner.alive)]
        if self._trigger.fd >= 0 and not core.scheduler.exiting:
            reading.append(self._trigger.fd)
        writing = [spawner.to_fd for spawner in self._spawners if spawner.alive and spawner.command]
        try:
            readable, _, _ = select.select(reading, writing, [], seconds)
        except OSError:
            core.log.warning(b"trouble in select")
            return
        if self._wake_read in readable:
            os.read(self._wake_read, CHUNK)
        if self._trigger.fd in readable:
            self._trigger.reset()
            core.scanner.triggered()
        core.scheduler.now = int(time.time())
        self._flush_commands()
        for spawner in self._spawners:
            if spawner.alive and spawner.from_fd in readable:
                self._take_reports(spawner)

    def _take_reports(self, spawner: SpawnerPipe) -> None:
        core = self._core
        try:
            data = os.read(spawner.from_fd, CHUNK)
        except OSError:
            data = b""
        if not data:
            self._lost(spawner)
        for delivery, result in spawner.reports(data):
            if delivery is None:
                core.log.warning(b"internal error: delivery report out of range")
            else:
                core.scheduler.results.report(delivery, result)

    def _flush_commands(self) -> None:
        for spawner in self._spawners:
            if spawner.alive and spawner.command:
                try:
                    spawner.flush()
                except OSError:
                    self._lost(spawner)

    def _lost(self, spawner: SpawnerPipe) -> None:
        self._core.log.alert(b"oh no! lost spawn connection! dying...")
        spawner.alive = False
        self._core.exit()

    def _write_log(self) -> None:
        _write_log(self._core.log.take())


def _spawn_limit(fd: int) -> int:
    """Return the concurrency that a spawner allows: its first byte.  Fails: SchedulerStartError."""
    try:
        first = os.read(fd, 1)
    except OSError:
        first = b""
    if not first:
        raise SchedulerStartError(b"hath the daemon spawn no fire?")
    return first[0]


def _write_log(text: bytes) -> None:
    try:
        write_all(LOG_FD, text)
    except OSError:
        pass


def run(site: Site, environ: Mapping[bytes, bytes]) -> int:
    """Run qmail-send on descriptors 0 to 6; return its exit code."""
    os.umask(UMASK)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        sender = ClassicSend(site, environ)
        sender.run()
    except SchedulerStartError as reason:
        _write_log(b"alert: cannot start: %b\n" % reason.text)
        return EXIT_TEMPORARY
    return 0
