"""Ends deliveries and attempts: what each result means, and what is recorded of it.

Source: queue.md 3.7 (qmail-send.c del_dochan, job_close).
"""

from collections.abc import Callable

from eqmail_core.dsn.notification import DELIVERED_TEXT, EXPANDED_TEXT, RELAYED_TEXT, TOO_LONG
from eqmail_core.mail.address import DOUBLE_BOUNCE, NULL_SENDER
from eqmail_core.outcome import (
    DONE,
    DSN_RELAYED,
    DURABLE,
    EXPANDED,
    NOT_DURABLE,
    PERMANENT,
    TEMPORARY,
    DeliveryResult,
    Disposition,
)
from eqmail_core.queue.files import QueueFileError, QueueFiles
from eqmail_core.queue.format.channels import LOCAL
from eqmail_core.scheduler.channel import ChannelState
from eqmail_core.scheduler.destination_queues import DestinationQueue
from eqmail_core.scheduler.ports import Delivery, InlineExecutor, Job, Log, WorkerPort
from eqmail_core.scheduler.retry_schedule import RetrySchedule


class ResultHandler:
    """Records the results of deliveries and closes attempts.

    `on_failed_attempt` is called with every delivery that ended without a result, its report and the time.
    `worker` runs the flushes. `not_durable` counts successes that are not durable yet, `flushing` the flushes that run.
    `ended`: results of deliveries that waited for their destination, for the scheduler's next turn.
    """

    def __init__(
        self,
        files: QueueFiles,
        log: Log,
        channels: tuple[ChannelState, ChannelState],
        retry_schedule: RetrySchedule,
        log_status: Callable[[], None],
        clock: Callable[[], int],
    ) -> None:
        self.worker: WorkerPort = InlineExecutor()
        self.on_failed_attempt: Callable[[Delivery, bytes, int], None] = lambda delivery, reason, now: None
        self.not_durable = 0
        self.flushing = 0
        self.ended: list[tuple[DestinationQueue[Delivery], bytes, bytes]] = []
        self._files = files
        self._log = log
        self._channels = channels
        self._retry_schedule = retry_schedule
        self._log_status = log_status
        self._clock = clock

    def report(self, delivery: Delivery, result: DeliveryResult) -> None:
        """Record the end of a delivery; an unknown outcome defers it.

        After a success that is not durable, `mark_durable` or `durability_lost` must follow.
        """
        job, outcome, text = delivery.job, result.outcome, result.text
        channel = self._channels[job.channel]
        if delivery.queue is not None:
            self.ended.append((delivery.queue, outcome, text))
        if outcome == TEMPORARY and self._retry_schedule.is_over(job.age, delivery.recipient):
            outcome, text = PERMANENT, text + TOO_LONG
        channel.used_slots -= 1
        self._log.add(self._log.lines.report(delivery.number, outcome, text))
        if outcome == PERMANENT:
            if not job.recipient_dsn(delivery.offset).wants_failure:
                job.recorder.record_done(job, delivery.offset)
                job.pending -= 1
            elif job.recorder.record_failure(job, delivery.recipient, delivery.offset, text, has_failed=True):
                job.pending -= 1
                if job.failed and not job.is_flushing:
                    self._flush_failures(job)
        elif outcome == DONE:
            if result.disposition == NOT_DURABLE:
                self.not_durable += 1
                self._log_status()
                return
            self._succeeded(delivery, result.disposition)
        else:
            self.on_failed_attempt(delivery, text, self._clock())
        self._log_status()
        self.release(job)

    def mark_durable(self, delivery: Delivery) -> None:
        """Record that a reported success is durable now."""
        self.not_durable -= 1
        self._succeeded(delivery, DURABLE)
        self.release(delivery.job)

    def _succeeded(self, delivery: Delivery, disposition: Disposition) -> None:
        """Record a success; a requested success DSN is left out when it cannot be noted."""
        job = delivery.job
        job.pending -= 1
        if job.dsn is not None and disposition != DSN_RELAYED and job.sender not in (NULL_SENDER, DOUBLE_BOUNCE):
            delivered = DELIVERED_TEXT if job.channel == LOCAL else RELAYED_TEXT
            text = EXPANDED_TEXT if disposition == EXPANDED else delivered
            if job.recipient_dsn(delivery.offset).wants_success and job.recorder.record_failure(
                job, delivery.recipient, delivery.offset, text, has_failed=False
            ):
                return
        job.recorder.record_done(job, delivery.offset)

    def durability_lost(self, delivery: Delivery) -> None:
        """Record that a reported success may never become durable: the recipient is tried again."""
        self.not_durable -= 1
        self.release(delivery.job)

    def release(self, job: Job) -> None:
        """Drop one reference to an attempt; the last one closes it."""
        job.refs -= 1
        if job.refs == 0:
            self._channels[job.channel].open.pop(job.number, None)
            if job.body is not None:
                job.body.drop()
                job.body = None
            job.recorder.job_closed(job)

    def _flush_failures(self, job: Job) -> None:
        """Mark failed recipients once the bounce is on the disk; the attempt stays open until then."""
        failed, job.failed, job.is_flushing = job.failed, [], True
        job.refs += 1
        self.flushing += 1

        def flush() -> QueueFileError | None:
            try:
                self._files.flush_failures(job.number)
            except QueueFileError as trouble:
                return trouble
            return None

        def flushed(problem: QueueFileError | None) -> None:
            self.flushing -= 1
            job.is_flushing = False
            if problem is None:
                for offset in failed:
                    job.recorder.record_done(job, offset)
            else:
                self._log.warning(problem.text)
                job.pending += len(failed)
            if job.failed:
                self._flush_failures(job)
            self.release(job)

        self.worker.do(flush, flushed)
