"""A scheduler under test: a real queue folder, recorders for all other services, and a clock that is set by hand."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from eqmail_core.dsn.notification import BounceConfig, Notification
from eqmail_core.ipc.admission_protocol import Admission
from eqmail_core.outcome import DURABLE, NOT_DURABLE, DeliveryResult
from eqmail_core.queue.files import QueueFiles
from eqmail_core.queue.format.channels import LOCAL, REMOTE
from eqmail_core.queue.format.send_log import LogLines
from eqmail_core.queue.preprocess import Preprocessor
from eqmail_core.queue.routing import Routes
from eqmail_core.scheduler.completion import MessageCompletion
from eqmail_core.scheduler.control import SchedulerControl
from eqmail_core.scheduler.memory.queue import MemoryQueue
from eqmail_core.scheduler.ports import Delivery, Log
from eqmail_core.scheduler.queue_scanner import QueueScanner
from eqmail_core.scheduler.retry_schedule import RetrySchedule
from eqmail_core.scheduler.scheduler import Scheduler
from eqmail_core.site.layout import QueuePaths

NOW = 1_700_000_000
SPLIT = 3


class RecordedDeliverer:
    """Keeps orders until a test reports on them."""

    alive = True

    def __init__(self) -> None:
        self.open = True
        self.orders: list[tuple[Delivery, bytes]] = []

    def is_ready(self) -> bool:
        return self.open

    def deliver(self, delivery: Delivery, sender: bytes) -> None:
        self.orders.append((delivery, sender))


class RecordedCleaner:
    """Removes what qmail-clean would."""

    def __init__(self, paths: QueuePaths) -> None:
        self.paths = paths
        self.answer = b"+"
        self.present = True
        self.requests: list[bytes] = []

    def is_ready(self) -> bool:
        return self.present

    def clean(self, name: bytes, then: Callable[[bytes], None]) -> None:
        self.requests.append(name)
        number = int(name.rpartition(b"/")[2])
        if self.answer == b"+":
            path = self.paths.mess(number) if name.startswith(b"foop") else self.paths.todo(number)
            Path(path).unlink(missing_ok=True)
        then(self.answer)


class RecordedInjector:
    """Collects bounces; `code` is the answer, None keeps them waiting in `pending`."""

    def __init__(self) -> None:
        self.code: int | None = 0
        self.bounces: list[tuple[bytes, bytes, bytes]] = []
        self.pending: list[Callable[[int, int], None]] = []

    def is_ready(self) -> bool:
        return True

    def inject(self, bounce: Notification, pieces: Iterator[bytes], then: Callable[[int, int], None]) -> None:
        try:
            self.bounces.append((bounce.envelope.sender, bounce.recipient, b"".join(pieces)))
        except OSError:
            then(54, 0)
            return
        if self.code is None:
            self.pending.append(then)
        else:
            then(self.code, 999)


class RecordedMessageStore:
    """Records the notices to the queue service."""

    def __init__(self) -> None:
        self.notices: list[tuple[str, int]] = []

    def delivered(self, serial: int) -> None:
        self.notices.append(("finished", serial))

    def needs_spill(self, serial: int) -> None:
        self.notices.append(("waits", serial))

    def spilled(self, serial: int) -> None:
        self.notices.append(("placed", serial))


class ManualWorker:
    """Runs its work on request, so that other events can happen before; `eager` runs it at once."""

    def __init__(self) -> None:
        self.eager = True
        self.work: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []

    def do(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        if self.eager:
            then(work())
        else:
            self.work.append((work, then))

    def begin(self) -> Callable[[], None]:
        """Do the first piece of work; what is returned hands over its result."""
        work, then = self.work.pop(0)
        result = work()
        return lambda: then(result)


class SchedulerHarness:
    """Everything put together, with `example.org` local and `virt.org` virtual."""

    def __init__(self, root: Path, limits: tuple[int, int] = (10, 20), lifetime_s: int = 604800) -> None:
        self.paths = paths = QueuePaths(str(root / "queue"), SPLIT, True)
        for folder in (*paths.info_dirs(), *paths.mess_dirs(), *paths.todo_dirs(), *paths.intd_dirs()):
            os.makedirs(folder)
        for name in ("local", "remote"):
            for part in range(SPLIT):
                os.makedirs(f"{paths.root}/{name}/{part}")
        os.makedirs(f"{paths.root}/bounce")
        self.now = float(NOW)
        self.queue_files = QueueFiles(paths)
        self.log = Log(LogLines())
        self.local, self.remote = RecordedDeliverer(), RecordedDeliverer()
        self.cleaner = RecordedCleaner(paths)
        self.injector = RecordedInjector()
        self.message_store = RecordedMessageStore()
        self.worker = ManualWorker()
        postmaster = BounceConfig(b"MAILER-DAEMON", b"me.org", b"postmaster@me.org")
        self.ending = MessageCompletion(
            self.queue_files, self.log, self.cleaner, self.injector, postmaster, lambda: b"DATE"
        )
        self.routes = Routes(b"me.org", [b"example.org"], [], {b"virt.org": b"v"})
        self.scheduler = Scheduler(
            self.queue_files,
            self.log,
            self.routes,
            RetrySchedule(lifetime_s),
            (self.local, self.remote),
            limits,
            self.ending.add,
        )
        preparation = Preprocessor(self.queue_files, self.log.lines)
        self.held = MemoryQueue(self.scheduler, self.ending, preparation, self.message_store, self.worker, limit=100)
        self.spilling = self.held.spiller
        self.scanner = QueueScanner(
            self.scheduler, self.ending, preparation, self.cleaner, self.worker, self.held.is_held
        )
        self.control = SchedulerControl(self.scheduler, self.ending, self.held)
        self._serial = 0

    def turn(self, seconds: float = 0.0) -> None:
        """Advance the clock, then run everything that is due until nothing is left."""
        self.now += seconds
        for _ in range(200):
            self.spilling.pump(self.now)
            more = self.scanner.pump(int(self.now))
            more |= self.scheduler.pump(self.now)
            more |= self.ending.pump(self.now)
            if not more:
                return
        raise AssertionError("the scheduler never comes to rest")

    def lines(self) -> list[str]:
        """What was logged since the last time, without status lines."""
        lines = self.log.take().decode().splitlines()
        return [line for line in lines if not line.startswith("status:")]

    def report(self, recipient: bytes, letter: bytes, text: bytes = b"", durable: bool = True) -> Delivery:
        """The delivery to `recipient` ends."""
        for deliverer in (self.local, self.remote):
            for order in deliverer.orders:
                if order[0].recipient == recipient:
                    deliverer.orders.remove(order)
                    result = DeliveryResult(letter, text, DURABLE if durable else NOT_DURABLE)
                    self.scheduler.results.report(order[0], result)
                    return order[0]
        raise AssertionError(f"no delivery to {recipient!r} runs")

    @property
    def running(self) -> list[bytes]:
        """Recipients of the running deliveries."""
        return [order[0].recipient for deliverer in (self.local, self.remote) for order in deliverer.orders]

    # Messages on the disk

    def message(self, number: int, text: bytes = b"Subject: x\n\nbody\n") -> None:
        Path(self.paths.mess(number)).write_bytes(text)

    def todo(self, number: int, envelope: bytes) -> None:
        """A message from a foreign qmail-queue."""
        self.message(number)
        Path(self.paths.todo(number)).write_bytes(b"u7\0p42\0" + envelope)

    def old(self, number: int, sender: bytes, age_s: int = 0, due_s: int = 0, **lists: bytes) -> None:
        """A message that an earlier scheduler left, born `age_s` ago; its lists are due `due_s` from now."""
        self.message(number)
        contents = {self.paths.info(number): (b"F%b\0" % sender, -age_s)}
        for name, text in lists.items():
            contents[self.paths.channel(name, number)] = (text, due_s)
        for path, (text, mtime) in contents.items():
            Path(path).write_bytes(text)
            os.utime(path, (self.now + mtime, self.now + mtime))

    def files(self, number: int) -> dict[str, bytes]:
        """What the queue has of a message, without the message itself."""
        found = {}
        for name in ("todo", "info", "local", "remote"):
            path = Path(f"{self.paths.root}/{name}/{self.paths.split_name(number)}")
            if path.exists():
                found[name] = path.read_bytes()
        bounce = Path(self.paths.bounce(number))
        if bounce.exists():
            found["bounce"] = bounce.read_bytes()
        return found

    def due_of(self, channel: int, number: int) -> list[int]:
        """When a channel of a message is due, seconds from now."""
        return [due - int(self.now) for it, due in self.scheduler.channels[channel].due if it == number]

    # Messages in memory

    def admit(self, number: int, envelope: bytes, text: bytes = b"Subject: x\n\nbody\n", with_fd: bool = True) -> int:
        """The queue hands a message over; its serial."""
        self._serial += 1
        fd = -1
        if with_fd:
            fd = os.memfd_create("message")
            os.write(fd, text)
        it = Admission(self._serial, number, len(text), int(self.now), 7, 42, envelope)
        self.held.admit(it, fd, self.now)
        return self._serial

    def written(self, serial: int, number: int, ok: bool = True) -> None:
        """The queue answers that it has written mess/N, or could not."""
        if ok:
            self.message(number)
        self.spilling.spill_answered(serial, ok)
        self.turn()


__all__ = ["LOCAL", "NOW", "REMOTE", "SchedulerHarness"]
