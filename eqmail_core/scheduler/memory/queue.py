"""Messages in memory, safe in the queue service's journal.

Most are delivered without being written as files.

A message stays in memory no longer than its first attempt. It is spilled when a recipient is deferred, when the attempt
takes longer than FIRST_ATTEMPT_S, or at the end of the process. Then the queue service writes mess/N and the scheduler
writes info, local and remote; from there on it is an ordinary message. Running deliveries stay attached to it.

Source: docs/adr/0003-journal-first.md; ipc/admission_protocol.py.
"""

import os

from eqmail_core.dsn.notification import ReportedMessage
from eqmail_core.dsn.parameters import HELD as HELD_FACT
from eqmail_core.ipc.admission_protocol import Admission, EarlierAttempts, unpack_done
from eqmail_core.mail.address import is_verp_base
from eqmail_core.mail.dates import date822
from eqmail_core.mail.envelope import Envelope
from eqmail_core.mail.message_identity import MessageIdentity
from eqmail_core.queue.files import QueueFileError
from eqmail_core.queue.format.attempts import FailedAttempts, reason_line
from eqmail_core.queue.format.channels import HELD_UNTIL, LOCAL, REMOTE
from eqmail_core.queue.format.recipient_list import numbered
from eqmail_core.queue.format.replies import parse_replies
from eqmail_core.queue.message_match import MISSING, confirm_match, message_state
from eqmail_core.queue.preprocess import Preprocessor
from eqmail_core.scheduler.completion import MessageCompletion
from eqmail_core.scheduler.memory.deferrer import DeferralPort, Deferrer
from eqmail_core.scheduler.memory.delay_warnings import DelayWarnings
from eqmail_core.scheduler.memory.message import (
    ASKED,
    BOUNCING,
    HELD,
    MemoryMessage,
    is_finished,
    note_dsn,
    read_piecewise,
)
from eqmail_core.scheduler.memory.spill import Spiller
from eqmail_core.scheduler.ports import (
    SYSTEM_ERROR_PAUSE_S,
    Delivery,
    Job,
    QueueServicePort,
    SharedMessageFd,
    WorkerPort,
)
from eqmail_core.scheduler.scheduler import Scheduler

MAX_REPORTS = 1 << 26
"""Longest reports behind a body that are read, in bytes."""

NOTHING_LATER = [None, None]

MAX_FAILURE_BYTES = 1 << 18
"""Failure reports kept in memory for one message, in bytes."""


class MemoryQueue:
    """All messages in memory; also the recorder of their jobs.

    `limit`: messages beyond it go to the disk at once. `shared_queue`: the port of a queue that several nodes share;
    what has to wait is then given back, and nothing of it is on the disk. `delay_s`: age at which its sender is warned
    of the delay, 0 for never.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        completion: MessageCompletion,
        preprocessor: Preprocessor,
        store: QueueServicePort,
        worker: WorkerPort,
        limit: int,
        shared_queue: DeferralPort | None = None,
        delay_s: int = 0,
    ) -> None:
        self.messages: dict[int, MemoryMessage] = {}
        self._is_shared = shared_queue is not None
        self.spiller: Spiller | Deferrer
        if shared_queue is None:
            self.spiller = Spiller(self.messages, self._drop, scheduler, completion, preprocessor, store, worker)
        else:
            self.spiller = Deferrer(
                self.messages, self._drop, scheduler, shared_queue, DelayWarnings(scheduler, completion, delay_s).send
            )
        self.lease_epoch = 0
        """The epoch in which this node has what it is given; 0 where nodes share nothing."""
        self._numbers: dict[int, MemoryMessage] = {}
        self._scheduler = scheduler
        self._log = scheduler.log
        self._completion = completion
        self._queue_service = store
        self._limit = limit

    def is_held(self, number: int) -> bool:
        """Whether message `number` is in memory."""
        return number in self._numbers

    @property
    def serials(self) -> list[int]:
        """The serials of all messages in memory."""
        return list(self.messages)

    def admit(self, admission: Admission, fd: int, now: float) -> None:
        """Accept a message from the queue service and start its first attempt.

        Takes over `fd` (-1: none came).
        """
        if admission.serial in self.messages:
            if fd >= 0:
                os.close(fd)
            return
        identity = admission.identity
        if not self._is_shared and self._is_known(admission, identity):
            if fd >= 0:
                os.close(fd)
            return
        scheduler = self._scheduler
        if fd >= 0 and len(self.messages) >= self._limit:
            os.close(fd)
            fd = -1
        envelope = Envelope.parse(admission.envelope)
        sender, recipients = envelope.sender, envelope.recipients
        message = MemoryMessage(admission, identity, sender, SharedMessageFd(fd), now)
        self.messages[admission.serial] = self._numbers[admission.number] = message
        if admission.earlier is not None:
            self._resume(message, admission.earlier, fd, now)
        else:
            lines, number = self._log.lines, admission.number
            self._log.add(
                lines.new_message(number)
                + lines.about_message(number, admission.size, sender, admission.qp, admission.uid)
            )
        if len(recipients) == 1 and admission.earlier is None:
            channel, address = scheduler.routes.route(recipients[0])
            self._open(message, channel, [address], [0])
        else:
            self._open_all(message, recipients)
        if envelope.dsn:
            note_dsn(message, envelope.dsn)
        if message.dsn is not None and HELD_FACT in message.dsn.facts and admission.earlier is None:
            self._hold(message)
        elif fd < 0 or scheduler.exiting:
            self.spiller.stop(message)
        else:
            for job in message.jobs:
                scheduler.admit(job)
            if not message.jobs:
                self._finish(message)

    def _hold(self, message: MemoryMessage) -> None:
        """Let a message wait until somebody releases it."""
        for job in message.jobs:
            job.cancel()
            job.refs = 0
            job.retry = HELD_UNTIL
        message.running_jobs = 0
        self.spiller.spill(message)

    def _is_known(self, admission: Admission, identity: MessageIdentity) -> bool:
        """Return whether the message was spilled or ended before a crash or lost connection.

        If so, the queue service gets that result.

        Files of an earlier message with its number are removed: otherwise its recipients would get this message.
        """
        files = self._scheduler.files
        if self._completion.has_ended(identity):
            self._queue_service.delivered(admission.serial)
            return True
        try:
            found = files.identity(admission.number)
            if found is None:
                return False
            if identity.is_same(found) and message_state(files, admission.number) != MISSING:
                confirm_match(files, admission.number)
                self._queue_service.spilled(admission.serial)
                return True
            self._scheduler.remove_stale(admission.number)
        except QueueFileError as trouble:
            self._log.warning(trouble.text)
        return False

    def _resume(self, message: MemoryMessage, earlier: EarlierAttempts, fd: int, now: float) -> None:
        """Take what earlier attempts left; the reports of failed recipients are behind the body."""
        message.done = unpack_done(earlier.done)
        message.replies, message.is_warned = parse_replies(earlier.replies), earlier.is_warned
        message.later = [due if due is not None and due > now else None for due in earlier.due]
        reports = b"".join(read_piecewise(fd, message.size, message.size + MAX_REPORTS)) if fd >= 0 else b""
        if reports:
            message.failures.append(reports)
            message.failure_bytes = len(reports)

    def note_attempt(self, delivery: Delivery, reason: bytes, now: int) -> bool:
        """Keep that an attempt failed for now; False for a message that no other node can take."""
        message = self.messages.get(delivery.job.serial) if delivery.job.lease_epoch else None
        if message is None:
            return False
        before = message.replies.get(delivery.recipient_index)
        tries = before.tries + 1 if before is not None else 1
        message.replies[delivery.recipient_index] = FailedAttempts(tries, now, reason_line(reason))
        return True

    def _open_all(self, message: MemoryMessage, recipients: list[bytes]) -> None:
        addresses: tuple[list[bytes], list[bytes]] = ([], [])
        indexes: tuple[list[int], list[int]] = ([], [])
        route = self._scheduler.routes.route
        for index, recipient in enumerate(recipients):
            if index in message.done:
                continue
            channel, address = route(recipient)
            addresses[channel].append(address)
            indexes[channel].append(index)
        for channel in (LOCAL, REMOTE):
            if addresses[channel] and message.later[channel] is None:
                self._open(message, channel, addresses[channel], indexes[channel])

    def _open(self, message: MemoryMessage, channel: int, addresses: list[bytes], indexes: list[int]) -> None:
        sender = message.sender
        job = Job(self, message.identity, channel, sender, numbered(addresses), is_verp_base(sender))
        job.serial, job.lease_epoch = message.serial, self.lease_epoch
        job.recipient_indexes = indexes
        job.body = message.body.share()
        message.jobs.append(job)
        message.recipients.append(addresses)
        message.recipient_indexes.append(indexes)
        message.running_jobs += 1

    # RecipientRecorder

    def record_done(self, job: Job, offset: int) -> None:
        """Remember that the recipient at `offset` is finished."""
        job.done.append(offset)

    def record_failure(self, job: Job, recipient: bytes, offset: int, report: bytes, has_failed: bool) -> bool:
        """Remember a report for the sender; a message with too many bytes of reports is spilled."""
        message, block = self.messages[job.serial], self._scheduler.block(recipient, report, job.recipient_dsn(offset))
        message.failures.append(block)
        message.failure_bytes += len(block)
        job.done.append(offset)
        if message.failure_bytes > MAX_FAILURE_BYTES:
            self.spiller.spill(message)
        return True

    def job_closed(self, job: Job) -> None:
        """Complete the message when all its jobs are done; spill it when a recipient has to wait."""
        message = self.messages[job.serial]
        message.running_jobs -= 1
        if job.pending or not job.hit_end:
            self.spiller.spill(message)
        elif not message.running_jobs and message.state in (HELD, ASKED):
            if all(is_finished(job) for job in message.jobs) and message.later == NOTHING_LATER:
                self._finish(message)
            else:
                self.spiller.job_closed(message)

    def _finish(self, message: MemoryMessage) -> None:
        """Send the bounce of a finished message, if one is needed; then drop the message."""
        if not message.failures:
            self._log.add(self._log.lines.end_message(message.number))
            self._queue_service.delivered(message.serial)
            self._drop(message)
            for act in message.afterwards:
                act()
            return
        message.state = BOUNCING

        def on_sent(wait_s: int) -> None:
            message.state = HELD
            if not wait_s:
                message.failures.clear()
                self._finish(message)
            else:
                message.bounce_due = self._scheduler.now + wait_s
                self.spiller.spill(message)

        if self._completion.ready:
            report = ReportedMessage(
                message.sender,
                date822(message.identity.birth),
                message.size,
                lambda: message.failures,
                lambda: read_piecewise(message.body.fd, 0, message.size),
                message.dsn,
            )
            self._completion.send_notification(message.number, report, on_sent)
        else:
            on_sent(SYSTEM_ERROR_PAUSE_S)

    def _drop(self, message: MemoryMessage) -> None:
        if self.messages.get(message.serial) is message:
            del self.messages[message.serial]
        if self._numbers.get(message.number) is message:
            del self._numbers[message.number]
        message.body.drop()
