"""One admitted message that is only in memory, and the state of its way to the disk."""

import os
from collections.abc import Callable, Collection, Iterator

from eqmail_core.dsn.parameters import DsnParameters, parse_dsn
from eqmail_core.ipc.admission_protocol import Admission
from eqmail_core.mail.message_identity import MessageIdentity
from eqmail_core.queue.format.recipient_list import numbered
from eqmail_core.queue.format.replies import Replies
from eqmail_core.scheduler.ports import Job, SharedMessageFd
from eqmail_core.system.files import CHUNK

HELD, ASKED, TO_PLACE, PLACING, BOUNCING = range(5)
"""In memory; mess/N requested; mess/N written; its other files are being written; its bounce is being queued."""


class MemoryMessage:
    """One message in memory.

    `recipients` and `recipient_indexes` (positions in the envelope) belong to the `jobs` beside them.
    `running_jobs`: those that are not closed yet. `snapshot`: what a spill wrote, for each job whether it
    was finished, and how many of its `done`. `afterwards`: calls to make when the message has left memory in any way.
    Of a message of a shared queue, `done`: indexes of the recipients that earlier attempts finished; `later`: when a
    channel is due whose time has not come; `replies`: the failed attempts by index of the recipient; `is_warned`:
    whether its sender knows of the delay.
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
        "is_warned",
        "jobs",
        "later",
        "not_before",
        "number",
        "recipient_indexes",
        "recipients",
        "replies",
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
        self.replies: Replies = {}
        self.is_warned = False
        self.dsn: DsnParameters | None = None
        self.afterwards: list[Callable[[], None]] = []


def is_finished(job: Job) -> bool:
    """Whether an attempt is over and leaves nothing to do."""
    return job.refs == 0 and job.hit_end and not job.pending


def note_dsn(message: MemoryMessage, text: bytes) -> None:
    """Parse the DSN parameters of a message for the lists of its jobs."""
    dsn = parse_dsn(text)
    if dsn is None:
        return
    places = {}
    for job, addresses, indexes in zip(message.jobs, message.recipients, message.recipient_indexes, strict=True):
        for (offset, _, _), index in zip(numbered(addresses), indexes, strict=True):
            places[index] = (job.channel, offset)
    message.dsn = dsn.by_lists(places)
    for job in message.jobs:
        job.dsn = message.dsn


def read_piecewise(fd: int, start: int, end: int) -> Iterator[bytes]:
    """Yield the bytes of a file from `start` to `end`."""
    while start < end and (piece := os.pread(fd, min(CHUNK, end - start), start)):
        yield piece
        start += len(piece)
