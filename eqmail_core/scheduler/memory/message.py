"""One admitted message that is only in memory, and the state of its way to the disk."""

from collections.abc import Callable, Collection

from eqmail_core.dsn.parameters import DsnParameters
from eqmail_core.ipc.admission_protocol import Admission
from eqmail_core.mail.message_identity import MessageIdentity
from eqmail_core.scheduler.ports import Job, SharedMessageFd

HELD, ASKED, TO_PLACE, PLACING, BOUNCING = range(5)
"""In memory; mess/N requested; mess/N written; its other files are being written; its bounce is being queued."""


class MemoryMessage:
    """One message in memory.

    `recipients` and `recipient_indexes` (positions in the envelope) belong to the `jobs` beside them.
    `running_jobs`: those that are not closed yet. `snapshot`: what a spill wrote, for each job whether it
    was finished, and how many of its `done`. `afterwards`: calls to make when the message has left memory in any way.
    Of a message of a shared queue, `done`: indexes of the recipients that earlier attempts finished; `later`: when a
    channel is due whose time has not come.
    """

    __slots__ = (
        "admitted",
        "afterwards",
        "body",
        "bounce_due",
        "done",
        "dsn",
        "failure_bytes",
        "failures",
        "identity",
        "jobs",
        "later",
        "not_before",
        "number",
        "recipient_indexes",
        "recipients",
        "running_jobs",
        "sender",
        "serial",
        "size",
        "snapshot",
        "state",
        "written_failures",
    )

    def __init__(
        self, admission: Admission, identity: MessageIdentity, sender: bytes, body: SharedMessageFd, now: float
    ) -> None:
        self.serial = admission.serial
        self.identity = identity
        self.number = admission.number
        self.size = admission.size
        self.sender = sender
        self.body = body
        self.admitted = now
        self.not_before = 0.0
        self.state = HELD
        self.jobs: list[Job] = []
        self.recipients: list[list[bytes]] = []
        self.recipient_indexes: list[list[int]] = []
        self.failures: list[bytes] = []
        self.failure_bytes = 0
        self.running_jobs = 0
        self.snapshot: list[tuple[bool, int]] = []
        self.written_failures = 0
        self.bounce_due = 0
        self.done: Collection[int] = ()
        self.later: list[int | None] = [None, None]
        self.dsn: DsnParameters | None = None
        self.afterwards: list[Callable[[], None]] = []


def is_finished(job: Job) -> bool:
    """Whether an attempt is over and leaves nothing to do."""
    return job.refs == 0 and job.hit_end and not job.pending
