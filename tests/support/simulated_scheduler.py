"""The real scheduler beside the real queue service, on a disk that can lose power: wires are queues of calls.

What is played by the test: the wires, those who deliver, who succeed, defer (a recipient `r...`, for a while) or refuse
(a recipient `bad...`), and the sender, who reads bounces.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

from eqmail_core.dsn.notification import BounceConfig, Notification
from eqmail_core.event_loop.worker_thread import Call
from eqmail_core.ipc.admission_protocol import Admission
from eqmail_core.outcome import DURABLE, NOT_DURABLE, DeliveryResult
from eqmail_core.queue.files import QueueFiles
from eqmail_core.queue.format.channels import HELD_UNTIL
from eqmail_core.queue.format.send_log import LogLines
from eqmail_core.queue.preprocess import Preprocessor
from eqmail_core.queue.routing import Routes
from eqmail_core.queue.service.accepted_message import AcceptedMessage
from eqmail_core.scheduler.completion import LOST_TEXT, MessageCompletion
from eqmail_core.scheduler.memory.queue import MemoryQueue
from eqmail_core.scheduler.ports import Delivery, Log, SharedMessageFd
from eqmail_core.scheduler.queue_scanner import QueueScanner
from eqmail_core.scheduler.retry_schedule import RetrySchedule
from eqmail_core.scheduler.scheduler import Scheduler
from tests.support.simulated_os import SimOs, TimedDisk
from tests.support.simulated_queue import FOLDERS as QUEUE_FOLDERS
from tests.support.simulated_queue import PATHS, MailHistory, SimQueueService, SimWorker

FOLDERS = [*QUEUE_FOLDERS, "q/bounce"]

# Longer than any retry, and than the age at which the remains of an injection are swept.
LATER_S = 140_000


class Services(SimQueueService):
    """One run of both services, from recovery on."""

    def __init__(
        self, disk: TimedDisk, history: MailHistory, sim_os: SimOs, rng: random.Random, budget: int = 10**6
    ) -> None:
        sim_os.disk = disk
        self._sim_os = sim_os
        self.timed = disk
        self.rng = rng
        self.is_hasty = False
        self.scheduler: SimScheduler | None = None
        super().__init__(disk, history, budget=budget)

    @property
    def now(self) -> float:
        return self.timed.now_ns / 1e9

    def wait(self, seconds: float) -> None:
        self.timed.now_ns += int(seconds * 1e9)
        self.birth = int(self.now)
        if self.scheduler is not None:
            self.scheduler.wake()

    def start_scheduler(self) -> None:
        self.birth = int(self.now)
        self.scheduler = SimScheduler(self)
        self.scheduler.start()

    def kill_scheduler(self) -> None:
        """What it did stays, what it was about to do or to say does not."""
        scheduler, self.scheduler = self.scheduler, None
        assert scheduler is not None
        scheduler.is_alive = False
        for line in scheduler.lines:
            line.clear()
        gone = {id(line) for line in scheduler.lines}
        self.sim_loop.lines = [line for line in self.sim_loop.lines if id(line) not in gone]
        self.store.scheduler_disconnected(scheduler)
        for message in self.store._held.values():
            if message.scheduler is scheduler:
                message.scheduler = None

    def drain(self) -> None:
        """Everything in the queue is delivered, without deferrals."""
        self.is_hasty = True
        if self.scheduler is None:
            self.start_scheduler()
        assert self.scheduler is not None
        for _ in range(4):
            self.sim_loop.settle(self.rng)
            self.wait(LATER_S)
            self.scheduler.core.now = int(self.now)
            self.scheduler.core.retry_all()
            self.scheduler.scanner.triggered()
            self.scheduler.wake()
        self.sim_loop.settle(self.rng)

    def leftovers(self) -> list[str]:
        """What is in a queue that should be empty.

        Where names survive one by one, unread intd/N may be left, and an info/N that had been removed, which is
        held where its number is another message's by now.
        """
        left = [path for path in self.disk.paths() if not path.startswith(("q/pid/", "q/journal/"))]
        if self.disk.ordered or self.scheduler is None:
            return left
        held = {number for channel in self.scheduler.core.channels for number, due in channel.due if due >= HELD_UNTIL}
        return [path for path in left if "/intd/" not in path and int(path.rpartition("/")[2]) not in held]


class SimScheduler:
    """A scheduler composed as in `resident`; it implements link, message store and cleaner over simulated channels."""

    alive = True

    def __init__(self, services: Services) -> None:
        self._services = services
        self.is_alive = True
        self.calls: deque[Call] = deque()
        self.to_queue: deque[Call] = deque()
        self.from_queue: deque[Call] = deque()
        self.deliveries: deque[Call] = deque()
        self._sim_worker = SimWorker()
        self.lines = [self.calls, self.to_queue, self.from_queue, self.deliveries, self._sim_worker.jobs]
        services.sim_loop.lines += self.lines
        self.queue_files = QueueFiles(PATHS)
        self.log = Log(LogLines())
        self.output: list[bytes] = []
        postmaster = BounceConfig(b"MAILER-DAEMON", b"x", b"postmaster@x")
        self._ending = MessageCompletion(self.queue_files, self.log, self, self, postmaster, lambda: b"DATE")
        routes, schedule = Routes(b"x", [b"x"], [], {}), RetrySchedule(10**9)
        self.core = Scheduler(self.queue_files, self.log, routes, schedule, (self, self), (3, 3), self._ending.add)
        self.core.worker = self
        preparation = Preprocessor(self.queue_files, self.log.lines)
        self.memory = MemoryQueue(self.core, self._ending, preparation, self, self, limit=20)
        self.scanner = QueueScanner(self.core, self._ending, preparation, self, self, self.memory.is_held)
        self._wakes = False

    def start(self) -> None:
        self.scanner.find_old(int(self._services.now))
        self.to_queue.append(lambda: self._services.store.scheduler_connected(self, set()))
        self.wake()

    def wake(self) -> None:
        if not self._wakes and self.is_alive:
            self._wakes = True
            self.calls.append(self._turn)

    def _turn(self) -> None:
        self._wakes = False
        now = self._services.now
        self.memory.spiller.pump(now)
        more = self.scanner.pump(int(now))
        more |= self.core.pump(now)
        more |= self._ending.pump(now)
        self.output += self.log.take().splitlines()
        if more:
            self.wake()

    def _receive(self, call: Call) -> None:
        """Something comes over a wire."""
        call()
        self.wake()

    # The link: what the queue service sends.

    def admit(self, message: AcceptedMessage) -> None:
        disk = self._services.timed
        if message.body is not None:
            fd = disk.memory(message.body)
        else:
            fd = disk.open(self._services.store.path_for(message.number), 0)
        self._services.body_of.setdefault(message.serial, bytes(disk.read_at(fd, message.size, 0)))
        it = Admission(message.serial, message.number, message.size, message.birth, 7, 42, message.envelope)
        self.from_queue.append(partial(self._receive, lambda: self.memory.admit(it, fd, self._services.now)))

    def _answer(self, call: Call) -> None:
        if self.is_alive:
            self.from_queue.append(partial(self._receive, call))

    # Message store and cleaner: what is sent to the queue service.

    def delivered(self, serial: int) -> None:
        self.to_queue.append(lambda: self._services.store.delivered(serial))

    def spilled(self, serial: int) -> None:
        self.to_queue.append(lambda: self._services.store.spilled(serial))

    def needs_spill(self, serial: int) -> None:
        def written(ok: bool) -> None:
            self._answer(lambda: self.memory.spiller.spill_answered(serial, ok))

        self.to_queue.append(lambda: self._services.store.needs_spill(serial, written))

    def clean(self, name: bytes, then: Callable[[bytes], None]) -> None:
        number = int(name.rpartition(b"/")[2])
        if name.startswith(b"foop"):
            assert not self._services.disk.exists(PATHS.info(number)), f"mess/{number} would go before its info"

        def cleaned(answer: bytes) -> None:
            if not self._services.disk.ordered:
                # qmail-clean does not flush, so on such a disk a todo/N of an earlier message could come back.
                folders = (path(number).rpartition("/")[0] for path in (PATHS.intd, PATHS.todo, PATHS.mess))
                self._services.disk.sync_folders(list(folders))
            self._answer(lambda: then(answer))

        self.to_queue.append(lambda: self._services.store.clean(name, cleaned))

    # The worker.

    def do(self, work: Callable[[], object], then: Callable[..., None]) -> None:
        def done(result: object, error: OSError | None) -> None:
            assert error is None, "work does not fail"
            self._receive(lambda: then(result))

        self._sim_worker.run(work, done)

    # Those who deliver.

    def is_ready(self) -> bool:
        return True

    def deliver(self, delivery: Delivery, sender: bytes) -> None:
        self.deliveries.append(partial(self._receive, lambda: self._attempt(delivery)))

    def _attempt(self, delivery: Delivery) -> None:
        job, services = delivery.job, self._services
        if job.body is None:
            try:
                job.body = SharedMessageFd(self.queue_files.open_message(job.number))
            except OSError:
                self.core.results.report(delivery, DeliveryResult(b"Z", b"unable to open message"))
                return
        body = bytes(services.timed.read_at(job.body.fd, 1 << 20, 0))
        if delivery.recipient.startswith(b"bad"):
            self.core.results.report(delivery, DeliveryResult(b"D", b"no such user\n"))
        elif not services.is_hasty and services.rng.random() < 0.4:
            self.core.results.report(delivery, DeliveryResult(b"Z", b"later\n"))
        else:
            services.history.deliver(body, delivery.recipient)
            is_durable = services.rng.random() < 0.5
            self.core.results.report(delivery, DeliveryResult(b"K", b"", DURABLE if is_durable else NOT_DURABLE))
            if not is_durable:
                self.deliveries.append(partial(self._receive, lambda: self.core.results.mark_durable(delivery)))

    # The sender, who gets bounces.

    def inject(self, bounce: Notification, pieces: Iterator[bytes], then: Callable[[int, int], None]) -> None:
        try:
            text = b"".join(pieces)
        except OSError:
            self.calls.append(partial(self._receive, lambda: then(54, 0)))
            return
        head, _, body = text.partition(b"Return-Path: <s@x>\n")
        failed = [line[1:-2] for line in head.splitlines() if line.startswith(b"<bad")]
        assert failed
        if body == b"".join(LOST_TEXT):
            # a second bounce, because info/N and bounce/N came back without the message
            assert not self._services.disk.ordered
        else:
            for recipient in failed:
                self._services.history.deliver(body, recipient)
        self.calls.append(partial(self._receive, lambda: then(0, 1)))
