"""Spills messages from memory to the disk: those that have a deferred recipient or take too long.

The queue service writes mess/N (`needs_spill`, `spill_answered`). The scheduler then writes bounce, local, remote and
last info, for many messages at once and beside the loop. `spilled` lets the queue service discard its copy. Results
that arrive meanwhile are recorded afterwards.

Source: docs/adr/0003-journal-first.md; ipc/admission_protocol.py.
"""

from collections.abc import Callable, Iterator

from eqmail_core.dsn.parameters import render_dsn
from eqmail_core.queue.files import QueueFileError
from eqmail_core.queue.format.recipient_list import numbered, render_list
from eqmail_core.queue.preprocess import Preprocessor, SpillFiles
from eqmail_core.scheduler.completion import MessageCompletion
from eqmail_core.scheduler.memory.message import ASKED, HELD, PLACING, TO_PLACE, MemoryMessage, is_finished
from eqmail_core.scheduler.ports import QueueServicePort, WorkerPort
from eqmail_core.scheduler.scheduler import Scheduler

FIRST_ATTEMPT_S = 1.0
"""Longest first attempt in memory; after it the message is spilled."""

MAX_WAIT_S = 10.0
"""Longest wait of a message in memory for its first attempt."""

RETRY_S = 10.0
"""Delay before a message that could not be spilled is tried again."""

CHECK_EVERY_S = 0.5
"""Interval of the checks of all messages in memory."""


class Spiller:
    """Decides which messages in memory are spilled, and spills them.

    `messages`: all messages in memory, by serial; `drop` removes one; `spilled` counts those written.
    """

    def __init__(
        self,
        messages: dict[int, MemoryMessage],
        drop: Callable[[MemoryMessage], None],
        scheduler: Scheduler,
        completion: MessageCompletion,
        preprocessor: Preprocessor,
        store: QueueServicePort,
        worker: WorkerPort,
    ) -> None:
        self.messages = messages
        self._drop = drop
        self._scheduler = scheduler
        self._log = scheduler.log
        self._completion = completion
        self._preprocessor = preprocessor
        self._queue_service = store
        self._worker = worker
        self._to_spill: list[MemoryMessage] = []
        self._spilling = False
        self.spilled = 0
        self._next_look = 0.0
        self._now = 0.0

    def pump(self, now: float) -> None:
        """Spill what has to wait; check at intervals which messages take too long."""
        self._now = now
        if now >= self._next_look:
            self._next_look = now + CHECK_EVERY_S
            self._find_due(now)
        if self._to_spill and not self._spilling:
            self._write_files()

    def wakes_at(self) -> float | None:
        """Return when to check again; None while nothing is in memory."""
        return self._next_look if self.messages else None

    def set_back(self, seconds: int) -> None:
        """Adjust to a clock that was set back, so that no message waits longer for it."""
        self._next_look -= seconds
        for message in self.messages.values():
            message.admitted -= seconds
            message.not_before -= seconds
            message.bounce_due -= seconds if message.bounce_due else 0
            for job in message.jobs:
                if not self._scheduler.is_open(job):
                    job.set_back(seconds)

    def exit(self) -> None:
        """Spill everything, because the process is about to end."""
        for message in list(self.messages.values()):
            self.spill(message)

    @property
    def is_stuck(self) -> bool:
        """Whether nothing in memory can be spilled for now."""
        return all(held.not_before > self._now and held.state in (HELD, TO_PLACE) for held in self.messages.values())

    def give_up(self) -> None:
        """Drop what could not be spilled; the queue service has it in its journal and will send it again."""
        for message in list(self.messages.values()):
            self._log.warning(b"msg %d stays in the journal; recipients may get it twice" % message.number)
            self._drop(message)

    def resend_requests(self) -> None:
        """Repeat the unanswered requests on a new connection to the queue service."""
        for message in self.messages.values():
            if message.state == ASKED:
                self._queue_service.needs_spill(message.serial)

    def spill_answered(self, serial: int, ok: bool) -> None:
        """Take the answer of the queue service: whether mess/N is written."""
        message = self.messages.get(serial)
        if message is None or message.state != ASKED:
            return
        if ok:
            message.state = TO_PLACE
            self._to_spill.append(message)
            return
        mess = self._scheduler.files.short(self._scheduler.files.paths.mess(message.number))
        self._log.warning(b"trouble writing to %b; will try again later" % mess)
        message.state = HELD
        message.not_before = self._now + RETRY_S

    def spill(self, message: MemoryMessage) -> None:
        """Spill a message, unless that has begun."""
        if message.state == HELD:
            message.state = ASKED
            self._queue_service.needs_spill(message.serial)

    def stop(self, message: MemoryMessage) -> None:
        """Spill a message; running deliveries go on."""
        self.spill(message)

    def job_closed(self, message: MemoryMessage) -> None:
        """Do nothing: a message that has to wait was spilled when its first attempt closed."""

    def lost(self) -> None:
        """Do nothing: messages of a directory are never another node's."""

    def _find_due(self, now: float) -> None:
        """Find messages that waited too long; in order of admission, the first young one ends the search."""
        for message in list(self._older_than(now - FIRST_ATTEMPT_S)):
            if message.state == TO_PLACE and message not in self._to_spill and message.not_before <= now:
                self._to_spill.append(message)
            elif message.state == HELD and message.not_before <= now:
                tried = [job.tried for job in message.jobs if job.tried]
                since = min(tried) + FIRST_ATTEMPT_S if tried else message.admitted + MAX_WAIT_S
                if since <= now:
                    self.spill(message)
            elif message.state in (HELD, TO_PLACE):
                self._retry_from_memory(message)

    def _older_than(self, then: float) -> Iterator[MemoryMessage]:
        for message in self.messages.values():
            if message.admitted > then:
                return
            yield message

    def _retry_from_memory(self, message: MemoryMessage) -> None:
        """Try due recipients of a message again although it cannot be spilled for now."""
        if message.body.fd < 0 or self._scheduler.exiting:
            return
        for job, addresses, indexes in zip(message.jobs, message.recipients, message.recipient_indexes, strict=True):
            if job.refs == 0 and not is_finished(job) and job.retry <= self._now:
                done = set(job.done)
                left = [
                    recipient
                    for recipient in zip(numbered(addresses), indexes, strict=True)
                    if recipient[0][0] not in done
                ]
                records = iter([record for record, _ in left])
                job.restart(records, [index for _, index in left], message.body.share())
                message.running_jobs += 1
                self._scheduler.admit(job)

    def _write_files(self) -> None:
        group, self._to_spill = self._to_spill, []
        placements = [self._files_of(held) for held in group]
        self._spilling = True

        def placed(results: list[QueueFileError | None]) -> None:
            self._spilling = False
            for message, problem in zip(group, results, strict=True):
                if problem is None:
                    self._detach(message)
                else:
                    self._log.warning(problem.text)
                    message.state = TO_PLACE
                    message.not_before = self._now + RETRY_S

        self._worker.do(lambda: self._preprocessor.place(placements), placed)

    def _files_of(self, message: MemoryMessage) -> SpillFiles:
        message.state = PLACING
        message.snapshot = [(is_finished(job), len(job.done)) for job in message.jobs]
        lists = [
            (job.channel, render_list(addresses, job.done), job.retry if job.refs == 0 else self._scheduler.now)
            for job, addresses, (finished, _) in zip(message.jobs, message.recipients, message.snapshot, strict=True)
            if not finished
        ]
        message.written_failures = len(message.failures)
        return SpillFiles(
            message.identity,
            message.sender,
            lists,
            b"".join(message.failures),
            render_dsn(message.dsn),
        )

    def _detach(self, message: MemoryMessage) -> None:
        """Hand a spilled message over to the disk.

        Records the results since the snapshot and rebinds its jobs.
        """
        scheduler, recorder = self._scheduler, self._scheduler.recorder
        self.spilled += 1
        self._queue_service.spilled(message.serial)
        self._drop(message)
        noted = self._note_failures(message)
        was_written = False
        for job, (finished, count) in zip(message.jobs, message.snapshot, strict=True):
            if finished:
                continue
            was_written = True
            job.recorder = recorder
            if noted:
                for offset in job.done[count:]:
                    recorder.record_done(job, offset)
            else:
                job.pending += len(job.done) - count
            if job.refs == 0:
                recorder.job_closed(job)
            elif not job.started:
                job.cancel()
                scheduler.enqueue(job.number, job.channel, scheduler.now)
        if not was_written:
            self._completion.add(message.number, message.bounce_due or scheduler.now)
        for act in message.afterwards:
            act()

    def _note_failures(self, message: MemoryMessage) -> bool:
        """Write the failures since the snapshot.

        False on an error: their recipients are tried again.
        """
        block = b"".join(message.failures[message.written_failures :])
        try:
            if block:
                self._scheduler.files.add_failure(message.number, block)
                self._scheduler.files.flush_failures(message.number)
        except QueueFileError as trouble:
            self._log.alert(trouble.text)
            return False
        return True
