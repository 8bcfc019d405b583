"""Records results of recipients on the disk, with one file operation each.

Source: queue.md 3.7 (qmail-send.c markdone, addbounce, job_close).
"""

from eqmail_core.queue.files import QueueFileError
from eqmail_core.queue.format.channels import HELD_UNTIL
from eqmail_core.scheduler.ports import SYSTEM_ERROR_PAUSE_S, Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.scheduler.scheduler import Scheduler


class DiskRecorder:
    """The recorder for messages on the disk."""

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler

    def record_done(self, job: Job, offset: int) -> None:
        """Mark the recipient as done; if that fails it gets a second delivery, as in C."""
        try:
            self._scheduler.files.mark_done(job.number, job.channel, offset)
        except QueueFileError as trouble:
            self._scheduler.log.warning(trouble.text)

    def record_failure(self, job: Job, recipient: bytes, offset: int, report: bytes, has_failed: bool) -> bool:
        """Append to the bounce, then mark the recipient.

        Without the bounce entry it stays to be tried again.

        A failure is marked when the bounce is on the disk; otherwise a crash could lose both and no bounce goes out.
        """
        block = self._scheduler.block(recipient, report, job.recipient_dsn(offset))
        try:
            self._scheduler.files.add_failure(job.number, block)
        except QueueFileError as trouble:
            self._scheduler.log.alert(trouble.text)
            return False
        if has_failed:
            job.failed.append(offset)
        else:
            self.record_done(job, offset)
        return True

    def job_closed(self, job: Job) -> None:
        """Remove the list when all recipients are finished, else schedule the next attempt."""
        scheduler = self._scheduler
        due = job.retry
        if job.hit_end and not job.pending:
            try:
                if scheduler.files.finish_channel(job.number, job.channel):
                    scheduler.finish(job.number, scheduler.now)
                return
            except QueueFileError as trouble:
                scheduler.log.warning(trouble.text)
                due = scheduler.now + SYSTEM_ERROR_PAUSE_S
        if due >= HELD_UNTIL:
            try:
                scheduler.files.note_due(job.number, job.channel, due)
            except QueueFileError as trouble:
                scheduler.log.warning(trouble.text)
        else:
            scheduler.on_deferred(job)
        scheduler.enqueue(job.number, job.channel, due)
