"""What the scheduler needs of the world, and the things that pass between: the same core drives both kinds of system.

A classic qmail-send talks to spawners and to qmail-clean over pipes; the resident one to services over sockets.
"""

import os
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from eqmail_core.dsn.notification import Notification
from eqmail_core.dsn.parameters import NO_DSN, DsnParameters, RecipientDsn, list_key, render_dsn
from eqmail_core.queue.format.channels import HELD_UNTIL
from eqmail_core.queue.format.send_log import LogLines
from eqmail_core.system.repeated_lines import RepeatedLines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.scheduler.destination_queues import DestinationQueue

T = TypeVar("T")

NOT_STARTED = -3
"""Result of an injection whose program or connection could not even be started."""

NO_SERIAL = -1
"""Serial of a message that was found on the disk."""

SYSTEM_ERROR_PAUSE_S = 123
"""How long to wait after the system failed us, in seconds (qmail-send.c SLEEP_SYSFAIL)."""


class Log:
    """Lines on their way to the logger, handed over in one write per turn of the loop."""

    __slots__ = ("_repeated", "lines", "say", "waiting")

    def __init__(self, lines: LogLines) -> None:
        self.lines = lines
        self._repeated = RepeatedLines()
        self.waiting: list[bytes] = []
        self.say = self.waiting.append

    def warning(self, text: bytes) -> None:
        """Something went wrong and will be tried again; one line a minute where it is the same again and again."""
        text = self._repeated.let(text)
        if text:
            self.say(self.lines.warning(text))

    def alert(self, text: bytes) -> None:
        """Somebody has to act; as `warning`."""
        text = self._repeated.let(text)
        if text:
            self.say(self.lines.alert(text))

    def take(self) -> bytes:
        """Everything that waits, once."""
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
        """One more user."""
        self._users += 1
        return self

    def drop(self) -> None:
        """One user less."""
        self._users -= 1
        if self._users == 0 and self.fd >= 0:
            os.close(self.fd)


class RecipientRecorder(Protocol):
    """Where the fate of a job's recipients is written down: on the disk, or in memory as long as nobody waits."""

    def record_done(self, job: "Job", offset: int) -> None:
        """The recipient at `offset` is finished."""

    def record_failure(self, job: "Job", recipient: bytes, offset: int, report: bytes, has_failed: bool) -> bool:
        """The recipient is finished and its sender must be told; False when that could not be noted."""

    def job_closed(self, job: "Job") -> None:
        """Nothing runs any more: `pending` recipients are still to do, and others where `hit_end` is False."""


class Job:
    """One attempt at one channel of one message, which began at this `age` of the message in seconds.

    `records` yields offset, mark and address of each recipient.  `refs` counts what keeps the attempt open: reading its
    list, running deliveries, reports that are not durable yet.  `retry` is the time of the next attempt, fixed now.
    `places` are the recipients' places in the envelope, where the message was admitted with a serial.  `wishes`: those
    of the sender, with the keys of the lists.  `started`: when its list began to be read, 0 before; `tried`: when
    its first delivery started.  `failed`: offsets of those whose failure is noted, but not on the disk yet: `done` is
    said of them when it is; `is_flushing` while others' are on their way there.
    """

    __slots__ = (
        "age",
        "birth",
        "body",
        "cancelled",
        "channel",
        "done",
        "dsn",
        "failed",
        "hit_end",
        "is_flushing",
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
        number: int,
        channel: int,
        sender: bytes,
        birth: int,
        records: Iterator[tuple[int, int, bytes]],
        verp: bool,
    ) -> None:
        self.recorder = recorder
        self.number = number
        self.channel = channel
        self.sender = sender
        self.birth = birth
        self.records = records
        self.verp = verp
        self.serial = NO_SERIAL
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

    def set_back(self, seconds: int) -> None:
        """The clock was set back."""
        self.retry -= 0 if self.retry >= HELD_UNTIL else seconds
        self.started = max(self.started - seconds, 1.0) if self.started else 0.0
        self.tried = max(self.tried - seconds, 1.0) if self.tried else 0.0

    def recipient_dsn(self, offset: int) -> RecipientDsn:
        """The wish about the recipient at `offset`."""
        return NO_DSN if self.dsn is None else self.dsn.for_recipient(list_key(self.channel, offset))

    def dsn_text(self, offset: int) -> bytes:
        """The list of wishes for whoever delivers to the recipient at `offset` alone."""
        return b"" if self.dsn is None else render_dsn(self.dsn.only_for(list_key(self.channel, offset)))


class Delivery:
    """One recipient's attempt; `place` is the recipient's place in the envelope of an admitted message.

    `number` is given when it starts; `queue` is where it waited for its destination, which must hear how it ended.
    """

    __slots__ = ("job", "number", "offset", "queue", "recipient", "recipient_index")

    def __init__(self, job: Job, offset: int, recipient: bytes, index: int) -> None:
        self.number = 0
        self.queue: DestinationQueue[Delivery] | None = None
        self.job = job
        self.offset = offset
        self.recipient = recipient
        self.recipient_index = index


class Deliverer(Protocol):
    """Who delivers for one channel; reports come back through `Scheduler.report`."""

    @property
    def alive(self) -> bool:
        """Whether reports can still come."""

    def is_ready(self) -> bool:
        """Whether one more order can be given now."""

    def deliver(self, delivery: Delivery, sender: bytes) -> None:
        """Start a delivery, for this sender."""


class Cleaner(Protocol):
    """Who may remove what the scheduler may not: todo, intd and mess."""

    def is_ready(self) -> bool:
        """Whether a request can be answered."""

    def clean(self, name: bytes, then: Callable[[bytes], None]) -> None:
        """Remove `foop/N` or `todo/S/N`; `then` gets b"+" when that is done, at once or later."""


class Injector(Protocol):
    """How bounces get into the queue."""

    def is_ready(self) -> bool:
        """Whether one more can be started."""

    def inject(self, bounce: Notification, pieces: Iterator[bytes], then: Callable[[int, int], None]) -> None:
        """Queue the message made of `pieces`; `then` gets an exit code of qmail-queue and its qp.

        An OSError from `pieces` aborts the injection: any code but 0.
        """


class MessageKeeper(Protocol):
    """The queue service, which keeps admitted messages safe while they are in memory."""

    def delivered(self, serial: int) -> None:
        """Every recipient is done: forget it."""

    def needs_spill(self, serial: int) -> None:
        """Write mess/N; the answer comes through `HeldMessages.answered`."""

    def spilled(self, serial: int) -> None:
        """It is an ordinary message now: forget the other copy."""


class DelivererPort(Protocol):
    """Does what may block: at once in a classic system, beside the loop in a resident one."""

    def do(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Run `work`, which does not fail, and give its result to `then`, one after the other."""


class InlineExecutor:
    """The worker of a system that may block."""

    def do(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Run `work` and give its result to `then`."""
        then(work())
