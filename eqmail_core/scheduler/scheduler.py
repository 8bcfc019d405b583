"""The delivery scheduler of qmail-send.

It decides when each recipient is tried and how many at once; what comes of it is for scheduler/results.py, and what
people ask for a message is for scheduler/message_attempts.py.

It knows neither files nor sockets: the queue files, the deliverers and the recorders are arguments, and so is the
clock. `pump` starts what is due.

Source: queue.md 3.7 (qmail-send.c job, del, pass).
Long because reading lists and starting deliveries change the same state.
"""

from collections.abc import Callable, Mapping

from eqmail_core.dsn.parameters import NO_DSN, RecipientDsn
from eqmail_core.dsn.qsbmf import failure_block
from eqmail_core.mail.address import is_verp_base, verp_sender
from eqmail_core.mail.domain_name import table_key
from eqmail_core.outcome import TEMPORARY, DeliveryResult
from eqmail_core.queue.files import QueueFileError, QueueFiles
from eqmail_core.queue.format.channels import CHANNELS, HELD_UNTIL, LOCAL, REMOTE
from eqmail_core.queue.format.recipient_list import MARK_DONE, MARK_TODO
from eqmail_core.queue.routing import Routes
from eqmail_core.scheduler.channel import ChannelState, Record
from eqmail_core.scheduler.disk_recorder import DiskRecorder
from eqmail_core.scheduler.message_attempts import MessageAttempts
from eqmail_core.scheduler.ports import (
    SYSTEM_ERROR_PAUSE_S,
    Deliverer,
    Delivery,
    Job,
    Log,
)
from eqmail_core.scheduler.queue_damage import FINISHED, HELD, WHOLE, QueueDamage
from eqmail_core.scheduler.results import ResultHandler
from eqmail_core.scheduler.retry_schedule import RetrySchedule, requeue_delay
from eqmail_core.scheduler.suspension import suspension_of

# Records read per channel and turn, so that a long list of finished recipients does not delay other messages.
_RECORDS_PER_TURN = 500
# Cost of opening one more message on the disk, in records.
_OPENING = 15
# Attempts that may be stalled: they have more recipients for one destination than it has room for.
_MAX_STALLED = 50
# Deliveries of one message in a row while others wait, in a channel without destination queues.
_TURN = 20
# Attempts that may rest until their next turn; a further one is closed and read from the disk again later.
_MAX_RESTING = 50


class Scheduler:
    """Decides what to deliver next; `routes` may be replaced at any time.

    `on_deferred` is called with every attempt that leaves recipients on the disk for a later attempt.
    """

    def __init__(
        self,
        files: QueueFiles,
        log: Log,
        routes: Routes,
        retry_schedule: RetrySchedule,
        deliverers: tuple[Deliverer, Deliverer],
        limits: tuple[int, int],
        on_finished: Callable[[int, int], None],
    ) -> None:
        self.files = files
        self.log = log
        self.damage = QueueDamage(files, log)
        self.routes = routes
        self.now = 0
        self.exiting = False
        self.paused = False
        self.on_deferred: Callable[[Job], None] = lambda job: None
        self._suspended: Mapping[bytes, int] | None = None
        self.recorder = DiskRecorder(files, log, self)
        self.channels = (ChannelState(LOCAL, deliverers[0], limits[0]), ChannelState(REMOTE, deliverers[1], limits[1]))
        self.results = ResultHandler(files, log, self.channels, retry_schedule, self.log_status, lambda: self.now)
        self.attempts = MessageAttempts(self.channels, self.results, lambda: self.now)
        self._retry_schedule = retry_schedule
        self._on_finished = on_finished
        self._deliveries = 0

    def log_status(self) -> None:
        """Log how many deliveries are running."""
        local, remote = self.channels
        self.log.add(
            self.log.lines.status(local.used_slots, local.limit, remote.used_slots, remote.limit, self.exiting)
        )

    @property
    def idle(self) -> bool:
        """Whether no running delivery can still report; deliverers that are not alive do not count."""
        return not (self.results.not_durable or self.results.flushing) and not any(
            channel.used_slots and channel.deliverer.alive for channel in self.channels
        )

    def enqueue(self, number: int, channel: int, due: int) -> None:
        """Schedule a message with unfinished recipients on a channel for its attempt at `due`."""
        self.channels[channel].due.insert(number, due)

    def admit(self, job: Job) -> None:
        """Start an attempt at a message in memory when its turn comes."""
        self.channels[job.channel].waiting.append(job)

    def is_open(self, job: Job) -> bool:
        """Whether an attempt has started and is not closed."""
        return self.channels[job.channel].open.get(job.number) is job

    def finish(self, number: int, due: int) -> None:
        """Report that all recipients of a message on the disk are finished."""
        self._on_finished(number, due)

    def retry_all(self) -> None:
        """Make every waiting message due now and try every destination."""
        for channel in self.channels:
            channel.due.retry_all(self.now)
            if channel.room is not None:
                channel.room.retry_all()

    def set_back(self, seconds: int) -> None:
        """Adjust to a clock that was set back, so that nothing waits longer for it."""
        for channel in self.channels:
            channel.set_back(seconds)

    def plausible(self, due: int, channel: int) -> int:
        """Return when to try what an earlier scheduler noted for `due`; see `RetrySchedule.at_most`."""
        return self._retry_schedule.at_most(due, self.now, channel)

    def exit(self) -> None:
        """Start no more deliveries; recipients that wait for a destination are left to wait on the disk."""
        self.exiting = True
        for channel in self.channels:
            for job in channel.suspend() if channel.room is not None else ():
                job.retry = min(job.retry, self.now)
                self.results.release(job)

    def pause(self, reason: bytes) -> None:
        """Start no deliveries for a reason, or resume with b""; running ones continue."""
        if bool(reason) != self.paused:
            self.paused = bool(reason)
            self.log.warning(b"%b, so no delivery starts" % reason if reason else b"qmail-start goes on")

    def prepare(self, job: Job) -> None:
        """Fix the retry time of an attempt and the age of its message, from its start time."""
        job.retry = self._retry_schedule.next_attempt(job.message.birth, self.now, job.channel)
        job.age = max(self.now - job.message.birth, 0)

    def pump(self, now: float) -> bool:
        """Start the deliveries that are due and have a free slot; return whether to call again at once."""
        self.now = int(now)
        if self.exiting or self.paused:
            return False
        room = self.channels[REMOTE].room
        if room is not None:
            for queue, outcome, text in self.results.ended:
                room.delivery_ended(queue, outcome, text, now)
            self.results.ended.clear()
        return sum(self._pass(channel, now) for channel in self.channels) > 0

    def wakes_at(self) -> float | None:
        """Return when something waiting becomes due; None without a free slot or with nothing waiting."""
        if self.exiting or self.paused:
            return None
        return min((time for channel in self.channels if (time := channel.wakes_at()) is not None), default=None)

    def _pass(self, channel: ChannelState, now: float) -> bool:
        """Start deliveries of one channel; return True when the turn ended before the work did."""
        work, room, has_free_slot = _RECORDS_PER_TURN, channel.room, channel.has_free_slot
        while work > 0:
            work -= 1
            if not has_free_slot:
                return False
            called = None if room is None else room.next_ready(now)
            if called is not None:
                self._next_remote(channel, *called)
                has_free_slot = channel.has_free_slot
                continue
            job = channel.job
            if job is None:
                if channel.stalled and self._read_on(channel, now):
                    continue
                job = channel.job = self._next_job(channel)
                if job is None:
                    return False
                channel.turn = 0
                if channel.open.get(job.number) is not job:
                    work -= _OPENING
                    job.started = now
                    channel.open[job.number] = job
                    self.prepare(job)
            try:
                record = next(job.records, None)
            except (OSError, QueueFileError):
                self._stop_reading(channel, b"trouble reading %b; will try again later")
                continue
            if record is None:
                job.hit_end = True
                self._stop_reading(channel)
            elif record[1] == MARK_TODO:
                if self._suspended and self._is_suspended(record[2]):
                    self._postpone(job, record)
                elif room is None:
                    self._start(channel, self._delivery(job, record))
                    has_free_slot = channel.has_free_slot
                    channel.turn += 1
                    if channel.turn >= _TURN and channel.others_wait(self.now):
                        self._rest(channel, job)
                else:
                    self._enqueue_remote(channel, job, record, now)
            elif record[1] != MARK_DONE:
                self._stop_reading(channel, b"unknown record type in %b!")
        return True

    def _next_job(self, channel: ChannelState) -> Job | None:
        """Take the next attempt; memory, disk and resting attempts alternate, so that none starves."""
        if not (channel.waiting or channel.resting or len(channel.due)):
            return None
        sources = (self._from_memory, self._from_disk, self._rested)
        for count in range(channel.next_source, channel.next_source + len(sources)):
            job = sources[count % len(sources)](channel)
            if job is not None:
                channel.next_source = (count + 1) % len(sources)
                return job
        return None

    def _from_memory(self, channel: ChannelState) -> Job | None:
        while channel.waiting:
            job = channel.waiting.popleft()
            if not job.cancelled:
                return job
        return None

    def _rested(self, channel: ChannelState) -> Job | None:
        return channel.resting.popleft() if channel.resting else None

    def _rest(self, channel: ChannelState, job: Job) -> None:
        """Let other messages have their turn.

        When too many attempts rest already, this one is rescheduled on the disk.
        """
        channel.job, channel.next_source = None, 0
        if len(channel.resting) < _MAX_RESTING:
            channel.resting.append(job)
        else:
            job.retry = min(job.retry, self.now + requeue_delay(job.age, is_moving=True))
            self.results.release(job)

    def _from_disk(self, channel: ChannelState) -> Job | None:
        while (number := channel.due.pop_due(self.now)) is not None:
            try:
                state = self.damage.check(number)
                if state != WHOLE:
                    if state == HELD:
                        channel.due.insert(number, HELD_UNTIL)
                    elif state == FINISHED:
                        self.finish(number, self.now)
                    continue
                info = self.files.info(number)
                # This comes last: it may keep a file open that is closed only by reading it.
                records = self.files.recipients(number, channel.index)
            except QueueFileError as trouble:
                self.log.warning(trouble.text)
                channel.due.insert(number, self.now + SYSTEM_ERROR_PAUSE_S)
                continue
            job = Job(self.recorder, info.identity, channel.index, info.sender, records, is_verp_base(info.sender))
            job.dsn = info.dsn
            return job
        return None

    def remove_stale(self, number: int) -> None:
        """Remove info/N and what belongs to it.

        They are of an ended message whose number another message has now.
        Fails: QueueFileError.
        """
        for channel in self.channels:
            channel.due.discard(number)
        self.attempts.suspend(number)
        self.damage.remove_stale(number)

    def _stop_reading(self, channel: ChannelState, warning: bytes = b"") -> None:
        job, channel.job = channel.job, None
        assert job is not None
        if warning:
            paths = self.files.paths
            self.log.warning(warning % self.files.short(paths.channel(CHANNELS[channel.index], job.number)))
        self.results.release(job)

    def _delivery(self, job: Job, record: Record) -> Delivery:
        """Make the delivery of one recipient, which starts later."""
        index = 0
        if job.recipient_indexes:
            index = job.recipient_indexes[job.position]
            job.position += 1
        job.refs += 1
        job.pending += 1
        return Delivery(job, record[0], record[2], index)

    def _enqueue_remote(self, channel: ChannelState, job: Job, record: Record, now: float) -> None:
        """Queue a recipient for its destination; without room there, the message comes back later.

        Exception: when this message itself fills the room, its list is read on after some of its recipients have left.
        """
        room = channel.room
        assert room is not None
        domain = table_key(record[2].rpartition(b"@")[2])
        if room.has_space(domain):
            delivery = self._delivery(job, record)
            delivery.queue = room.enqueue(domain, delivery, now)
            return
        last = room.last(domain)
        moves = room.is_moving(domain, now)
        if last is not None and last.job is job and moves and len(channel.stalled) < _MAX_STALLED:
            channel.stalled.append((job, record))
            channel.job = None
            return
        job.position += bool(job.recipient_indexes)
        job.pending += 1
        job.retry = min(job.retry, self.now + requeue_delay(job.age, moves))

    def suspend_domains(self, domains: "Mapping[bytes, int] | None") -> None:
        """Start no delivery to these domains until the given times; see scheduler/suspension.py.

        Recipients that wait for their destination come back later; running deliveries go on.  What waits because of
        earlier suspensions is due.
        """
        if self._suspended and self._suspended != domains:
            for channel in self.channels:
                channel.resume(self.now)
        self._suspended = domains
        if not domains:
            return
        for channel in self.channels:
            if channel.room is not None:
                for delivery in channel.room.remove(lambda item: self._is_suspended(item.recipient)):
                    channel.postponed.add(delivery.job.number)
                    self.results.release(delivery.job)

    def _is_suspended(self, recipient: bytes) -> bool:
        return suspension_of(self._suspended, recipient.rpartition(b"@")[2], self.now) is not None

    def _postpone(self, job: Job, record: Record) -> None:
        """Leave a recipient of a suspended domain undone until the suspension ends, or the next attempt."""
        job.position += bool(job.recipient_indexes)
        job.pending += 1
        self.channels[job.channel].postponed.add(job.number)
        end = suspension_of(self._suspended, record[2].rpartition(b"@")[2], self.now)
        if end:
            job.retry = min(job.retry, max(end, self.now + 1))

    def _read_on(self, channel: ChannelState, now: float) -> bool:
        """Resume a stalled attempt once its destination has taken much of what waited."""
        room = channel.room
        assert room is not None
        job, record = channel.stalled[0]
        if not room.has_space(table_key(record[2].rpartition(b"@")[2]), factor=4):
            channel.stalled.rotate(-1)
            return False
        channel.stalled.popleft()
        channel.job = job
        self._enqueue_remote(channel, job, record, now)
        return True

    def _next_remote(self, channel: ChannelState, delivery: Delivery, reason: bytes) -> None:
        """Start the delivery of a queued recipient, or defer it for the given reason."""
        if reason:
            delivery.queue = None
            self._begin(channel, delivery)
            self.results.report(delivery, DeliveryResult(TEMPORARY, reason))
        else:
            self._start(channel, delivery)

    def _start(self, channel: ChannelState, delivery: Delivery) -> None:
        self._begin(channel, delivery)
        job = delivery.job
        sender = verp_sender(job.sender, delivery.recipient) if job.verp else job.sender
        channel.deliverer.deliver(delivery, sender)

    def _begin(self, channel: ChannelState, delivery: Delivery) -> None:
        self._deliveries = delivery.number = self._deliveries + 1
        delivery.job.tried = delivery.job.tried or self.now
        channel.used_slots += 1
        lines = self.log.lines
        starting = lines.starting(delivery.number, delivery.job.number, channel.label, delivery.recipient)
        self.log.add(starting)
        self.log_status()

    def block(self, recipient: bytes, report: bytes, dsn: RecipientDsn = NO_DSN) -> bytes:
        """Return the paragraph of a bounce about one recipient."""
        return failure_block(self.routes.original_address(recipient), report, dsn.orcpt)
