"""The heart of qmail-send: who is tried when, how many at a time, and what every report means.

Knows neither files nor sockets: the ledger, the deliverers and the books are given to it, and the clock is an argument.
`pump` does what is due; reports come in through `report`, `settled` and `unsettled_lost`.

Source: queue.md 3.7 (qmail-send.c job, del, pass).
Long because what starts deliveries and what ends them keep the same books.
"""

from collections.abc import Callable

from eqmail_core.dsn.notification import DELIVERED_TEXT, EXPANDED_TEXT, RELAYED_TEXT, TOO_LONG
from eqmail_core.dsn.parameters import NO_DSN, RecipientDsn
from eqmail_core.dsn.qsbmf import failure_block
from eqmail_core.mail.address import DOUBLE_BOUNCE, NULL_SENDER, is_verp_base, verp_sender
from eqmail_core.mail.domain_name import table_key
from eqmail_core.queue.files import QueueFileError, QueueFiles
from eqmail_core.queue.format.channels import CHANNELS, HELD_UNTIL, LOCAL, REMOTE, RetrySchedule, requeue_delay
from eqmail_core.queue.format.recipient_list import DONE, TODO
from eqmail_core.queue.routing import Routes
from eqmail_core.scheduler.channel import ChannelState, Record
from eqmail_core.scheduler.destination_queues import DestinationQueue
from eqmail_core.scheduler.disk_recorder import DiskRecorder
from eqmail_core.scheduler.ports import (
    SYSTEM_ERROR_PAUSE_S,
    Deliverer,
    DelivererPort,
    Delivery,
    InlineExecutor,
    Job,
    Log,
)
from eqmail_core.scheduler.queue_damage import FINISHED, HELD, WHOLE, QueueDamage

# Records looked at per channel and turn, so that a long list of finished recipients does not hold up the rest.
_RECORDS_PER_TURN = 500
# What it costs to open another message on the disk, in records.
_OPENING = 15
# Attempts that may have more recipients for one destination than there is room for.
_MOST_STALLED = 50
# Deliveries of a message in a row while others wait, in a channel whose recipients do not wait for destinations.
_TURN = 20
# Attempts that may rest until their next turn; further ones come back later, from the disk.
_MOST_RESTING = 50


class Scheduler:
    """Decides what to deliver next and keeps the books; `routes` may be replaced at any time.

    `on_deferred` is told of every attempt that leaves something on the disk to be tried again.  `worker` flushes.
    """

    def __init__(
        self,
        ledger: QueueFiles,
        log: Log,
        routes: Routes,
        patience: RetrySchedule,
        deliverers: tuple[Deliverer, Deliverer],
        limits: tuple[int, int],
        on_finished: Callable[[int, int], None],
    ) -> None:
        self.files = ledger
        self.log = log
        self.damage = QueueDamage(ledger, log)
        self.routes = routes
        self.now = 0
        self.exiting = False
        self.paused = False
        self.not_durable = 0
        self.worker: DelivererPort = InlineExecutor()
        self._flushing = 0
        self.on_deferred: Callable[[Job], None] = lambda job: None
        self.recorder = DiskRecorder(self)
        self.channels = (ChannelState(LOCAL, deliverers[0], limits[0]), ChannelState(REMOTE, deliverers[1], limits[1]))
        self._retry_schedule = patience
        self._on_finished = on_finished
        self._deliveries = 0
        self._ended: list[tuple[DestinationQueue[Delivery], bytes, bytes]] = []

    def log_status(self) -> None:
        """Say how many deliveries run."""
        local, remote = self.channels
        self.log.say(
            self.log.lines.status(local.used_slots, local.limit, remote.used_slots, remote.limit, self.exiting),
        )

    @property
    def idle(self) -> bool:
        """Whether nothing runs that could still report; dead deliverers do not count."""
        return not (self.not_durable or self._flushing) and not any(
            lane.used_slots and lane.deliverer.alive for lane in self.channels
        )

    def enqueue(self, number: int, channel: int, due: int) -> None:
        """A message has unfinished recipients on a channel, to be tried at `due`."""
        self.channels[channel].due.insert(number, due)

    def finish(self, number: int, due: int) -> None:
        """All recipients of a message on the disk are finished."""
        self._on_finished(number, due)

    def retry_all(self) -> None:
        """Make everything that waits due now, and try every destination."""
        for lane in self.channels:
            lane.due.retry_all(self.now)
            if lane.room is not None:
                lane.room.retry_all()

    def set_back(self, seconds: int) -> None:
        """The clock was set back: nothing waits longer for it."""
        for lane in self.channels:
            lane.set_back(seconds)

    def plausible(self, due: int, channel: int) -> int:
        """When to try what an earlier scheduler noted for `due`, see `Patience.at_most`."""
        return self._retry_schedule.at_most(due, self.now, channel)

    def exit(self) -> None:
        """Start nothing more; who waits for a destination waits on the disk from now on."""
        self.exiting = True
        for lane in self.channels:
            for job in lane.suspend() if lane.room is not None else ():
                job.retry = min(job.retry, self.now)
                self.release(job)

    def pause(self, paused: bool) -> None:
        """Start nothing for now, or go on; what runs is not touched."""
        if paused != self.paused:
            self.paused = paused
            self.log.warning(b"qmail-start is stopped, so no delivery starts" if paused else b"qmail-start goes on")

    def prepare(self, job: Job) -> None:
        """Fix what an attempt that starts now means: the next one, and whether there will be one."""
        job.retry = self._retry_schedule.next_attempt(job.birth, self.now, job.channel)
        job.age = max(self.now - job.birth, 0)

    def pump(self, now: float) -> bool:
        """Start what is due and has room; tells whether to be called again at once."""
        self.now = int(now)
        if self.exiting or self.paused:
            return False
        room = self.channels[REMOTE].room
        if room is not None:
            for queue, letter, text in self._ended:
                room.delivery_ended(queue, letter, text, now)
            self._ended.clear()
        return sum(self._pass(lane, now) for lane in self.channels) > 0

    def wakes_at(self) -> float | None:
        """When something waiting becomes due; None while there is no place for it or nothing waits."""
        if self.exiting or self.paused:
            return None
        return min((time for lane in self.channels if (time := lane.wakes_at()) is not None), default=None)

    def _pass(self, lane: ChannelState, now: float) -> bool:
        """Start deliveries of one channel; True when the turn ended before the work did."""
        work, room = _RECORDS_PER_TURN, lane.room
        while work > 0:
            work -= 1
            if not lane.has_free_slot:
                return False
            called = None if room is None else room.next_ready(now)
            if called is not None:
                self._next_remote(lane, *called)
                continue
            job = lane.job
            if job is None:
                if lane.stalled and self._read_on(lane, now):
                    continue
                job = lane.job = self._next_job(lane)
                if job is None:
                    return False
                lane.turn = 0
                if lane.open.get(job.number) is not job:
                    work -= _OPENING
                    job.started = now
                    lane.open[job.number] = job
                    self.prepare(job)
            try:
                record = next(job.records, None)
            except (OSError, QueueFileError):
                self._stop_reading(lane, b"trouble reading %b; will try again later")
                continue
            if record is None:
                job.hit_end = True
                self._stop_reading(lane)
            elif record[1] == TODO:
                if room is None:
                    self._start(lane, self._delivery(job, record))
                    lane.turn += 1
                    if lane.turn >= _TURN and lane.others_wait(self.now):
                        self._rest(lane, job)
                else:
                    self._enqueue_remote(lane, job, record, now)
            elif record[1] != DONE:
                self._stop_reading(lane, b"unknown record type in %b!")
        return True

    def _next_job(self, lane: ChannelState) -> Job | None:
        """New messages in memory, older ones on the disk and resting ones take turns, so that none starves."""
        sources = (self._from_memory, self._from_disk, self._rested)
        for count in range(lane.next_source, lane.next_source + len(sources)):
            job = sources[count % len(sources)](lane)
            if job is not None:
                lane.next_source = (count + 1) % len(sources)
                return job
        return None

    def _from_memory(self, lane: ChannelState) -> Job | None:
        while lane.waiting:
            job = lane.waiting.popleft()
            if not job.cancelled:
                return job
        return None

    def _rested(self, lane: ChannelState) -> Job | None:
        return lane.resting.popleft() if lane.resting else None

    def _rest(self, lane: ChannelState, job: Job) -> None:
        """Let other messages have their turn; where too many rest already, this one comes back later."""
        lane.job, lane.next_source = None, 0
        if len(lane.resting) < _MOST_RESTING:
            lane.resting.append(job)
        else:
            job.retry = min(job.retry, self.now + requeue_delay(job.age, is_moving=True))
            self.release(job)

    def _from_disk(self, lane: ChannelState) -> Job | None:
        while (number := lane.due.pop_due(self.now)) is not None:
            try:
                state = self.damage.check(number)
                if state != WHOLE:
                    if state == HELD:
                        lane.due.insert(number, HELD_UNTIL)
                    elif state == FINISHED:
                        self.finish(number, self.now)
                    continue
                sender, birth, wishes = self.files.info(number)
                # Last, for it may keep a file open, which only who reads it closes.
                records = self.files.recipients(number, lane.index)
            except QueueFileError as trouble:
                self.log.warning(trouble.text)
                lane.due.insert(number, self.now + SYSTEM_ERROR_PAUSE_S)
                continue
            job = Job(self.recorder, number, lane.index, sender, birth, records, is_verp_base(sender))
            job.dsn = wishes
            return job
        return None

    def remove_stale(self, number: int) -> None:
        """Forget and remove info/N and what belongs to it: its message is no more, and another has its number now.

        Fails: Trouble.
        """
        for lane in self.channels:
            lane.due.discard(number)
        self.suspend_message(number)
        self.damage.remove_stale(number)

    def suspend_message(self, number: int) -> list[Job]:
        """Start no more deliveries of a message for now; the attempts that stay open because deliveries run."""
        for lane in self.channels:
            for job in lane.suspend(number):
                self.release(job)
        return [lane.open[number] for lane in self.channels if number in lane.open]

    def _stop_reading(self, lane: ChannelState, warning: bytes = b"") -> None:
        job, lane.job = lane.job, None
        assert job is not None
        if warning:
            paths = self.files.paths
            self.log.warning(warning % self.files.short(paths.channel(CHANNELS[lane.index], job.number)))
        self.release(job)

    def _delivery(self, job: Job, record: Record) -> Delivery:
        """A recipient whose turn is to come."""
        place = 0
        if job.recipient_indexes:
            place = job.recipient_indexes[job.position]
            job.position += 1
        job.refs += 1
        job.pending += 1
        return Delivery(job, record[0], record[2], place)

    def _enqueue_remote(self, lane: ChannelState, job: Job, record: Record, now: float) -> None:
        """Have a recipient wait for the destination; where there is no room for that the message comes back later.

        Unless it is the message itself that takes up the room: then its list is read on when others have gone.
        """
        room = lane.room
        assert room is not None
        domain = table_key(record[2].rpartition(b"@")[2])
        if room.has_space(domain):
            delivery = self._delivery(job, record)
            delivery.queue = room.enqueue(domain, delivery, now)
            return
        last = room.last(domain)
        moves = room.is_moving(domain, now)
        if last is not None and last.job is job and moves and len(lane.stalled) < _MOST_STALLED:
            lane.stalled.append((job, record))
            lane.job = None
            return
        job.position += bool(job.recipient_indexes)
        job.pending += 1
        job.retry = min(job.retry, self.now + requeue_delay(job.age, moves))

    def _read_on(self, lane: ChannelState, now: float) -> bool:
        """Go on with a stalled attempt, if its destination has taken much of what waited."""
        room = lane.room
        assert room is not None
        job, record = lane.stalled[0]
        if not room.has_space(table_key(record[2].rpartition(b"@")[2]), share=4):
            lane.stalled.rotate(-1)
            return False
        lane.stalled.popleft()
        lane.job = job
        self._enqueue_remote(lane, job, record, now)
        return True

    def _next_remote(self, lane: ChannelState, delivery: Delivery, reason: bytes) -> None:
        """The turn of a recipient has come, or will not come for the reason given."""
        if reason:
            delivery.queue = None
            self._begin(lane, delivery)
            self.report(delivery, b"Z", reason)
        else:
            self._start(lane, delivery)

    def _start(self, lane: ChannelState, delivery: Delivery) -> None:
        self._begin(lane, delivery)
        job = delivery.job
        sender = verp_sender(job.sender, delivery.recipient) if job.verp else job.sender
        lane.deliverer.deliver(delivery, sender)

    def _begin(self, lane: ChannelState, delivery: Delivery) -> None:
        self._deliveries = delivery.number = self._deliveries + 1
        delivery.job.tried = delivery.job.tried or self.now
        lane.used_slots += 1
        self.log.say(self.log.lines.starting(delivery.number, delivery.job.number, lane.label, delivery.recipient))
        self.log_status()

    def report(
        self,
        delivery: Delivery,
        letter: bytes,
        text: bytes,
        durable: bool = True,
        takes_over: bool = False,
        is_expanded: bool = False,
    ) -> None:
        """A delivery ended with `letter` K, Z or D (anything else defers it) and a text for people.

        After a K that is not `durable`, `settled` or `unsettled_lost` must follow.  `takes_over`: who has the message
        now tells its sender what he wishes to know.  `is_expanded`: several addresses have it now.
        """
        job = delivery.job
        lane = self.channels[job.channel]
        if delivery.queue is not None:
            self._ended.append((delivery.queue, letter, text))
        if letter == b"Z" and self._retry_schedule.is_over(job.age, delivery.recipient):
            letter, text = b"D", text + TOO_LONG
        lane.used_slots -= 1
        self.log.say(self.log.lines.report(delivery.number, letter, text))
        if letter == b"D":
            if not job.recipient_dsn(delivery.offset).wants_failure:
                job.recorder.record_done(job, delivery.offset)
                job.pending -= 1
            elif job.recorder.record_failure(job, delivery.recipient, delivery.offset, text, has_failed=True):
                job.pending -= 1
                if job.failed and not job.is_flushing:
                    self._flush_failures(job)
        elif letter == b"K":
            if not durable:
                self.not_durable += 1
                self.log_status()
                return
            self._succeeded(delivery, takes_over, EXPANDED_TEXT if is_expanded else b"")
        self.log_status()
        self.release(job)

    def mark_durable(self, delivery: Delivery) -> None:
        """A success that was reported is durable now."""
        self.not_durable -= 1
        self._succeeded(delivery, False, b"")
        self.release(delivery.job)

    def _succeeded(self, delivery: Delivery, takes_over: bool, news: bytes) -> None:
        """The recipient has the message; where that cannot be noted for a sender who wants to know, he is not told."""
        job = delivery.job
        job.pending -= 1
        if job.dsn is not None and not takes_over and job.sender not in (NULL_SENDER, DOUBLE_BOUNCE):
            text = news or (DELIVERED_TEXT if job.channel == LOCAL else RELAYED_TEXT)
            if job.recipient_dsn(delivery.offset).wants_success and job.recorder.record_failure(
                job, delivery.recipient, delivery.offset, text, has_failed=False
            ):
                return
        job.recorder.record_done(job, delivery.offset)

    def durability_lost(self, delivery: Delivery) -> None:
        """A success that was reported may never become durable: the recipient is tried again."""
        self.not_durable -= 1
        self.release(delivery.job)

    def release(self, job: Job) -> None:
        """One reason less to keep an attempt open."""
        job.refs -= 1
        if job.refs == 0:
            self.channels[job.channel].open.pop(job.number, None)
            if job.body is not None:
                job.body.drop()
                job.body = None
            job.recorder.job_closed(job)

    def _flush_failures(self, job: Job) -> None:
        """Mark failed recipients when the bounce is on the disk; the attempt stays open for that."""
        failed, job.failed, job.is_flushing = job.failed, [], True
        job.refs += 1
        self._flushing += 1

        def flush() -> QueueFileError | None:
            try:
                self.files.flush_failures(job.number)
            except QueueFileError as trouble:
                return trouble
            return None

        def flushed(trouble: QueueFileError | None) -> None:
            self._flushing -= 1
            job.is_flushing = False
            if trouble is None:
                for offset in failed:
                    job.recorder.record_done(job, offset)
            else:
                self.log.warning(trouble.text)
                job.pending += len(failed)
            if job.failed:
                self._flush_failures(job)
            self.release(job)

        self.worker.do(flush, flushed)

    def block(self, recipient: bytes, report: bytes, wish: RecipientDsn = NO_DSN) -> bytes:
        """What a bounce says about a recipient."""
        return failure_block(self.routes.original_address(recipient), report, wish.orcpt)
