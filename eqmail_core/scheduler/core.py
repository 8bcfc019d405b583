"""What the classic and the resident qmail-send have in common, assembled around their ports."""

import os
import time
from collections.abc import Iterator
from functools import partial
from typing import Protocol

from eqmail_core.control.controls import Controls, reload_settings
from eqmail_core.control.delivery_settings import DSN
from eqmail_core.control.setting import ControlError
from eqmail_core.dsn.notification import BounceConfig
from eqmail_core.mail.dates import date822
from eqmail_core.queue.files import QueueFileError, QueueFiles
from eqmail_core.queue.format.channels import REMOTE
from eqmail_core.queue.format.recipient_list import MARK_TODO
from eqmail_core.queue.format.send_log import log_lines
from eqmail_core.queue.lock import QueueInUse, lock_scheduling
from eqmail_core.queue.preprocess import Preprocessor
from eqmail_core.queue.routing import Routes
from eqmail_core.scheduler.attempt_log import AttemptLog
from eqmail_core.scheduler.clock_watch import ClockWatch
from eqmail_core.scheduler.completion import NOT_YET, MessageCompletion
from eqmail_core.scheduler.destination_queues import DestinationQueues
from eqmail_core.scheduler.ports import Cleaner, Deliverer, Injector, Job, Log, WorkerPort
from eqmail_core.scheduler.queue_scanner import QueueScanner
from eqmail_core.scheduler.retry_schedule import RetrySchedule
from eqmail_core.scheduler.scheduler import Scheduler
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls

UMASK = 0o077
"""Files that the scheduler writes are readable by their owner alone."""


class SchedulerStartError(Exception):
    """Prevents the start of the scheduler; `text` completes the alert `cannot start: `."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text.decode())
        self.text = text


class SchedulerSettings:
    """The control files of the scheduler, parsed.

    Fails: SchedulerStartError.
    """

    def __init__(self, site: Site) -> None:
        try:
            self.controls = controls = read_controls(site)
            if not os.path.isdir(site.control) and not os.path.isdir(site.home):
                raise SchedulerStartError(b"unable to switch to home directory")
            self.bounce_config = BounceConfig(
                controls.bouncefrom,
                controls.bouncehost,
                controls.doublebounceto + b"@" + controls.doublebouncehost,
                controls.bounceformat == DSN,
                controls.bouncemaxbytes,
                controls.bouncemaxrecipients,
            )
            self.delay_s = controls.delaywarning
            self.retry_schedule = RetrySchedule(
                controls.queuelifetime, controls.retryschedule or (), controls.queuelifetimes or {}
            )
            self.limits = (controls.concurrencylocal, controls.concurrencyremote)
            self.lines = log_lines(controls.logformat)
            self.routes = _routes(controls)
        except ControlError as error:
            raise SchedulerStartError(b"unable to read controls: " + os.fsencode(str(error))) from error
        if controls.locals is None:
            missing = f"{site.control}/{Controls.locals.file} is missing, and so is {Controls.me.file}"
            raise SchedulerStartError(b"unable to read controls: " + os.fsencode(missing))

    def reload(self, site: Site) -> None:
        """Read locals and virtualdomains again.  Fails: QueueFileError; then nothing changes."""
        fresh = read_controls(site)
        folder = site.layout.control.encode()
        try:
            if fresh.locals is None:
                raise QueueFileError(b"unable to reread %b/%b" % (folder, Controls.locals.file.encode()))
            reload_settings(self.controls, fresh)
        except ControlError as error:
            names = (Controls.locals.file, Controls.virtualdomains.file)
            name = error.name if error.name in names else Controls.locals.file
            raise QueueFileError(b"unable to reread %b/%b" % (folder, name.encode())) from error
        self.routes = _routes(self.controls)


def _routes(controls: Controls) -> Routes:
    return Routes(
        controls.envnoathost, controls.locals or (), controls.percenthack or (), controls.virtualdomains or {}
    )


def lock_for_scheduler(site: Site) -> int:
    """Be the one scheduler of the queue; the descriptor holds the lock.  Fails: SchedulerStartError."""
    if not os.path.isdir(site.queue.root):
        raise SchedulerStartError(b"unable to switch to queue directory")
    try:
        return lock_scheduling(site.queue)
    except QueueInUse as error:
        raise SchedulerStartError(b"qmail-send is already running") from error
    except OSError as error:
        raise SchedulerStartError(b"unable to open mutex") from error


class Trigger:
    """The FIFO to which an injector writes a byte after it has put a message into todo/.

    `fd` is -1 where it cannot be opened: then todo/ is searched at intervals only.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.fd = self._open()

    def reset(self) -> None:
        """Clear the trigger; call this before todo/ is searched."""
        old, self.fd = self.fd, -1
        os.close(old)
        self.fd = self._open()

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return -1


class ClockDependent(Protocol):
    """Anything that stores times at which something is due."""

    def set_back(self, seconds: int) -> None:
        """Adjust to a clock that was set back."""


class SchedulerCore:
    """The scheduler with its scanner and message completion.

    `is_held`: whether the message with a number is in memory only.
    `keeps_times`: further objects that must adjust when the clock is set back.
    """

    def __init__(
        self,
        site: Site,
        settings: SchedulerSettings,
        deliverers: tuple[Deliverer, Deliverer],
        limits: tuple[int, int],
        cleaner: Cleaner,
        injector: Injector,
        worker: WorkerPort,
    ) -> None:
        self.log = Log(settings.lines)
        self.files = QueueFiles(site.queue)
        self.completion = MessageCompletion(self.files, self.log, cleaner, injector, settings.bounce_config, _date)
        self.completion.limit.per_hour = settings.controls.bouncelimit
        self.scheduler = Scheduler(
            self.files, self.log, settings.routes, settings.retry_schedule, deliverers, limits, self.completion.add
        )
        self.scheduler.results.worker = worker
        if settings.delay_s:
            self.scheduler.on_deferred = self._deferred
        self.scheduler.suspend_domains(settings.controls.suspendeddomains)
        self.attempts = AttemptLog(self.files, worker)
        self.scheduler.results.on_failed_attempt = self.attempts.note
        self.preprocessor = Preprocessor(self.files, settings.lines)
        self.scanner = QueueScanner(self.scheduler, self.completion, self.preprocessor, cleaner, worker, self._is_held)
        self.is_held = _never_in_memory
        self.keeps_times: list[ClockDependent] = []
        self._clock = ClockWatch()
        self._site = site
        self._settings = settings

    def _is_held(self, number: int) -> bool:
        return self.is_held(number)

    def _deferred(self, job: Job) -> None:
        """Send a delay warning about a deferred message on the disk, if one is due."""
        if job.age < self._settings.delay_s:
            return
        try:
            message = self.completion.bounce_now(job.number)
            if job.dsn is not None and next(self._waiting(job), None) is None:
                return
        except QueueFileError as trouble:
            self.log.warning(trouble.text)
            return
        except OSError:
            # The next attempt tries again.
            return
        message.failures = partial(self._waiting, job)
        self.completion.send_delay_warning(job.number, message)

    def _waiting(self, job: Job) -> Iterator[bytes]:
        for offset, mark, recipient in self.files.recipients(job.number, job.channel):
            dsn = job.recipient_dsn(offset)
            if mark == MARK_TODO and dsn.wants_delay:
                yield self.scheduler.block(recipient, NOT_YET, dsn)

    def start(self, now: float) -> None:
        """Log the first line and load what is in the queue."""
        self.scheduler.log_status()
        self.attempts.open(int(now))
        try:
            self.scanner.find_old(int(now))
        except OSError as error:
            folder = os.path.basename(os.path.dirname(self.files.paths.info(0))).encode()
            self.log.alert(b"unable to opendir %b, sleeping..." % folder)
            raise SchedulerStartError(b"unable to read the queue") from error

    def watch_clock(self, now: float) -> None:
        """Adjust everything to a clock that was set back; call this first in each turn."""
        back = self._clock.set_back_by(now)
        if back:
            self.log.warning(b"the clock was set back by %d seconds" % back)
            parts: list[ClockDependent] = [
                self.scanner,
                self.scheduler,
                self.completion.due,
                self.completion.left,
                *self.keeps_times,
            ]
            for part in parts:
                part.set_back(back)

    def pump(self, now: float) -> bool:
        """Run one turn (scan, start, complete); return whether to call again at once."""
        seconds = int(now)
        more = self.scanner.pump(seconds)
        more |= self.scheduler.pump(now)
        more |= self.completion.pump(now)
        self.attempts.write(seconds)
        return more

    def wakes_at(self) -> float | None:
        """Return when the next turn is due if nothing happens before."""
        times = (self.scanner.wakes_at(), self.scheduler.wakes_at(), self.completion.wakes_at())
        return min((time for time in times if time is not None), default=None)

    def retry_all(self) -> None:
        """Try everything now (signal ALRM)."""
        self.scheduler.retry_all()

    def reread(self) -> None:
        """Read locals, virtualdomains, remotelimits, bouncelimit and suspendeddomains again (signal HUP)."""
        try:
            self._settings.reload(self._site)
        except QueueFileError as trouble:
            self.log.alert(trouble.text)
            return
        self.scheduler.routes = self._settings.routes
        self.completion.limit.per_hour = self._settings.controls.bouncelimit
        self.scheduler.suspend_domains(self._settings.controls.suspendeddomains)
        room = self.scheduler.channels[REMOTE].room
        if room is not None:
            room.limit_by(self._settings.controls.remotelimits)

    def pause_remote(self) -> None:
        """Queue remote recipients by destination, so that no destination delays another."""
        channel = self.scheduler.channels[REMOTE]
        channel.room = DestinationQueues(channel.limit, self._settings.controls.remotelimits)

    def exit(self) -> None:
        """Start nothing more (signal TERM)."""
        self.scheduler.exit()

    @property
    def can_end(self) -> bool:
        """Whether nothing is running any more after `exit`."""
        return self.scheduler.exiting and self.scheduler.idle

    def end(self) -> None:
        """Write the times of the next attempts to the files where the next scheduler finds them."""
        for channel in self.scheduler.channels:
            for number, due in channel.due:
                try:
                    self.files.note_due(number, channel.index, due)
                except QueueFileError as trouble:
                    self.log.warning(trouble.text)
        self.attempts.write(int(time.time()))
        self.log.add(self.log.lines.exiting())


def _date() -> bytes:
    return date822(time.time())


def _never_in_memory(number: int) -> bool:
    return False
