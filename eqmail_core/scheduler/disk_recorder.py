"""Records results of recipients on the disk, with one file operation each.

Source: queue.md 3.7 (qmail-send.c markdone, addbounce, job_close).
"""

from collections.abc import Callable
from typing import Protocol

from eqmail_core.dsn.parameters import RecipientDsn
from eqmail_core.queue.files import QueueFileError, QueueFiles
from eqmail_core.queue.format.channels import HELD_UNTIL
from eqmail_core.scheduler.ports import SYSTEM_ERROR_PAUSE_S, Job, Log


class AttemptSchedule(Protocol):
    """What follows an attempt at a message on the disk."""

    now: int
    on_deferred: Callable[[Job], None]

    def block(self, recipient: bytes, report: bytes, dsn: RecipientDsn) -> bytes:
        """Return the paragraph of a bounce about one recipient."""

    def enqueue(self, number: int, channel: int, due: int) -> None:
        """Schedule the next attempt."""

    def finish(self, number: int, due: int) -> None:
        """Complete a message whose recipients are all finished."""


class DiskRecorder:
    """The recorder for messages on the disk."""

    def __init__(self, files: QueueFiles, log: Log, schedule: AttemptSchedule) -> None:
        self._files = files
        self._log = log
        self._schedule = schedule

    def record_done(self, job: Job, offset: int) -> None:
        """Mark the recipient as done; if that fails it gets a second delivery, as in C."""
        try:
            self._files.mark_done(job.number, job.channel, offset)
        except QueueFileError as trouble:
            self._log.warning(trouble.text)

    def record_failure(self, job: Job, recipient: bytes, offset: int, report: bytes, has_failed: bool) -> bool:
        """Append to the bounce, then mark the recipient.

        Without the bounce entry it stays to be tried again.

        A failure is marked when the bounce is on the disk; otherwise a crash could lose both and no bounce goes out.
        """
        block = self._schedule.block(recipient, report, job.recipient_dsn(offset))
        try:
            self._files.add_failure(job.number, block)
        except QueueFileError as trouble:
            self._log.alert(trouble.text)
            return False
        if has_failed:
            job.failed.append(offset)
        else:
            self.record_done(job, offset)
        return True

    def job_closed(self, job: Job) -> None:
        """Remove the list when all recipients are finished, else schedule the next attempt."""
        schedule = self._schedule
        due = job.retry
        if job.hit_end and not job.pending:
            try:
                if self._files.finish_channel(job.number, job.channel):
                    schedule.finish(job.number, schedule.now)
                return
            except QueueFileError as trouble:
                self._log.warning(trouble.text)
                due = schedule.now + SYSTEM_ERROR_PAUSE_S
        if due >= HELD_UNTIL:
            try:
                self._files.note_due(job.number, job.channel, due)
            except QueueFileError as trouble:
                self._log.warning(trouble.text)
        else:
            schedule.on_deferred(job)
        schedule.enqueue(job.number, job.channel, due)
