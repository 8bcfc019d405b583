"""The ports of the scheduler and the values that pass through them.

One core drives both kinds of system.

The classic qmail-send talks to spawners and qmail-clean over pipes; the resident one to services over sockets.
"""

import os
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from eqmail_core.dsn.notification import Notification
from eqmail_core.dsn.parameters import NO_DSN, DsnParameters, RecipientDsn, render_dsn
from eqmail_core.mail.message_identity import MessageIdentity
from eqmail_core.outcome import DeliveryResult
from eqmail_core.queue.format.channels import HELD_UNTIL
from eqmail_core.queue.format.send_log import LogLines
from eqmail_core.system.repeated_lines import RepeatedLines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.scheduler.destination_queues import DestinationQueue

T = TypeVar("T")

NOT_STARTED = -3
"""Result of an injection whose program or connection could not be started."""

NO_SERIAL = -1
"""Serial of a message that was found on the disk."""

SYSTEM_ERROR_PAUSE_S = 123
"""Delay after a system error, in seconds (qmail-send.c SLEEP_SYSFAIL)."""


class Log:
    """Buffers log lines for the logger; one write per turn of the loop.  `add(lines)` adds whole lines."""

    __slots__ = ("_repeated", "add", "lines", "waiting")

    def __init__(self, lines: LogLines) -> None:
        self.lines = lines
        self._repeated = RepeatedLines()
        self.waiting: list[bytes] = []
        self.add = self.waiting.append

    def warning(self, text: bytes) -> None:
        """Log a problem that will be tried again; identical lines at most once a minute."""
        text = self._repeated.let(text)
        if text:
            self.waiting.append(self.lines.warning(text))

    def alert(self, text: bytes) -> None:
        """Log a problem that needs action by a person; repeated as `warning`."""
        text = self._repeated.let(text)
        if text:
            self.waiting.append(self.lines.alert(text))

    def take(self) -> bytes:
        """Return all buffered lines and clear the buffer."""
        text = b"".join(self.waiting)
        self.waiting.clear()
        return text


class SharedMessageFd:
    """A message's descriptor that several jobs share; the last one closes it."""

    __slots__ = ("_users", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._users = 1

    def share(self) -> "SharedMessageFd":
        """Add one user."""
        self._users += 1
        return self

    def drop(self) -> None:
        """Remove one user."""
        self._users -= 1
        if self._users == 0 and self.fd >= 0:
            os.close(self.fd)


class RecipientRecorder(Protocol):
    """Records the results of a job's recipients: on the disk, or in memory during the first attempt."""

    def record_done(self, job: "Job", offset: int) -> None:
        """Record that the recipient at `offset` is finished."""

    def record_failure(self, job: "Job", recipient: bytes, offset: int, report: bytes, has_failed: bool) -> bool:
        """Record a finished recipient with a report for the sender; False if that failed."""

    def job_closed(self, job: "Job") -> None:
        """End an attempt: `pending` recipients are still to do, and further ones where `hit_end` is False."""


class Job:
    """One attempt at one channel of one message.

    `message`: which message; `age`: of the message when the attempt began, in seconds.
    `records` yields offset, mark and address of each recipient. `refs` counts what keeps the attempt open: reading its
    list, running deliveries, reports that are not durable yet. `retry` is the time of the next attempt, fixed now.
    `recipient_indexes` are the positions of the recipients in the envelope of a message admitted with a serial.
    `dsn`: the DSN parameters of the sender, keyed by list. `started`: when reading its list began, 0 before.
    `tried`: when its first delivery started. `failed`: offsets of recipients whose failure is noted but not on the disk
    yet; they are recorded as done when it is. `is_flushing`: a flush for earlier ones is running.
    `lease_epoch`: in which this node has the message; 0 where no other node can take it.
    """

    __slots__ = (
        "age",
        "body",
        "cancelled",
        "channel",
        "done",
        "dsn",
        "failed",
        "hit_end",
        "is_flushing",
        "lease_epoch",
        "message",
        "number",
        "pending",
        "position",
        "recipient_indexes",
        "recorder",
        "records",
        "refs",
        "retry",
        "sender",
        "serial",
        "started",
        "tried",
        "verp",
    )

    def __init__(
        self,
        recorder: RecipientRecorder,
        message: MessageIdentity,
        channel: int,
        sender: bytes,
        records: Iterator[tuple[int, int, bytes]],
        verp: bool,
    ) -> None:
        self.recorder = recorder
        self.message = message
        self.number = message.number
        self.channel = channel
        self.sender = sender
        self.records = records
        self.verp = verp
        self.serial = NO_SERIAL
        self.lease_epoch = 0
        self.recipient_indexes: list[int] = []
        self.position = 0
        self.refs = 1
        self.pending = 0
        self.hit_end = False
        self.age = 0
        self.cancelled = False
        self.started = 0.0
        self.tried = 0.0
        self.retry = 0
        self.body: SharedMessageFd | None = None
        self.done: list[int] = []
        self.failed: list[int] = []
        self.is_flushing = False
        self.dsn: DsnParameters | None = None

    def restart(
        self, records: Iterator[tuple[int, int, bytes]], recipient_indexes: list[int], body: SharedMessageFd
    ) -> None:
        """Become a new attempt at these recipients, after the earlier one closed."""
        self.records = records
        self.recipient_indexes = recipient_indexes
        self.body = body
        self.position = self.pending = 0
        self.refs, self.hit_end = 1, False

    def cancel(self) -> None:
        """Never start; for an attempt that has not started."""
        self.cancelled = True
        if self.body is not None:
            self.body.drop()

    def set_back(self, seconds: int) -> None:
        """Adjust to a clock that was set back."""
        self.retry -= 0 if self.retry >= HELD_UNTIL else seconds
        self.started = max(self.started - seconds, 1.0) if self.started else 0.0
        self.tried = max(self.tried - seconds, 1.0) if self.tried else 0.0

    def recipient_dsn(self, offset: int) -> RecipientDsn:
        """Return the DSN parameters of the recipient at `offset`."""
        return NO_DSN if self.dsn is None else self.dsn.listed(self.channel, offset)

    def dsn_text(self, offset: int) -> bytes:
        """Return the rendered DSN parameters for a delivery to the recipient at `offset` alone."""
        return b"" if self.dsn is None else render_dsn(self.dsn.only_listed(self.channel, offset))


class Delivery:
    """One attempt for one recipient.

    `recipient_index`: its position in the envelope of an admitted message.
    `number` is assigned when it starts. `queue` is the destination queue it waited in, which needs its result.
    """

    __slots__ = ("job", "number", "offset", "queue", "recipient", "recipient_index")

    def __init__(self, job: Job, offset: int, recipient: bytes, index: int) -> None:
        self.number = 0
        self.queue: DestinationQueue[Delivery] | None = None
        self.job = job
        self.offset = offset
        self.recipient = recipient
        self.recipient_index = index


class DeliveryResultPort(Protocol):
    """Takes the results of deliveries."""

    def report(self, delivery: Delivery, result: DeliveryResult) -> None:
        """Record the end of a delivery; after a success that is not durable, one of the other two must follow."""

    def mark_durable(self, delivery: Delivery) -> None:
        """Record that a reported success is durable now."""

    def durability_lost(self, delivery: Delivery) -> None:
        """Record that a reported success may never become durable."""


class Deliverer(Protocol):
    """Delivers for one channel; results go to a `DeliveryResultPort`."""

    @property
    def alive(self) -> bool:
        """Whether reports can still come."""

    def is_ready(self) -> bool:
        """Whether one more delivery can be requested now."""

    def deliver(self, delivery: Delivery, sender: bytes) -> None:
        """Start a delivery with this envelope sender."""


class Cleaner(Protocol):
    """Removes files that the scheduler has no permission to remove: todo, intd and mess."""

    def is_ready(self) -> bool:
        """Whether a request can be answered."""

    def clean(self, name: bytes, then: Callable[[bytes], None]) -> None:
        """Remove `foop/N` or `todo/S/N`; `then` is called with b"+" on success, at once or later."""


class Injector(Protocol):
    """Puts bounces into the queue."""

    def is_ready(self) -> bool:
        """Whether one more injection can start."""

    def inject(self, bounce: Notification, pieces: Iterator[bytes], then: Callable[[int, int], None]) -> None:
        """Queue the message made of `pieces`.

        `then` is called with an exit code of qmail-queue and its qp.

        An OSError from `pieces` aborts the injection: any code but 0.
        """


class QueueServicePort(Protocol):
    """The queue service, which keeps admitted messages in its journal while they are in memory."""

    def delivered(self, serial: int) -> None:
        """Report that every recipient is done: the service discards the message."""

    def needs_spill(self, serial: int) -> None:
        """Request mess/N; the answer comes through `Spiller.spill_answered`."""

    def spilled(self, serial: int) -> None:
        """Report that it is an ordinary message on the disk now: the service discards its copy."""


class WorkerPort(Protocol):
    """Runs work that may block: inline in a classic system, in a thread in a resident one."""

    def do(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Run `work`, which does not fail, and call `then` with its result; one work after the other."""


class InlineExecutor:
    """Runs work at once, for a system that may block."""

    def do(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Run `work` and call `then` with its result."""
        then(work())
