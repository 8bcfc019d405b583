"""A queue service and a scheduler without sockets, threads or clock, on a disk that can lose power.

`World` is what a power cut does not touch: what was sent and acknowledged, and what has arrived in mailboxes.
"""

import os
import random
from collections import Counter, deque
from collections.abc import Callable
from zlib import crc32

from eqmail_core.event_loop.worker_thread import Call
from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.format.todo import parse_todo
from eqmail_core.queue.format.tree import classify
from eqmail_core.queue.service.accepted_message import AcceptedMessage
from eqmail_core.queue.service.journal import Journal
from eqmail_core.queue.service.message_store import STAYS, MessageStore
from eqmail_core.queue.service.number_pool import NumberPool
from eqmail_core.queue.service.recovery import recover
from eqmail_core.site.layout import QueuePaths
from tests.support.simulated_disk import SimDisk

PATHS = QueuePaths("q", 2, True)
SPLIT = ("mess", "info", "local", "remote", "intd", "todo")
FOLDERS = ["q/pid", "q/journal", *(f"q/{name}/{part}" for name in SPLIT for part in range(2))]
SEGMENT = 8192


class MailHistory:
    def __init__(self) -> None:
        self.sent: dict[bytes, list[bytes]] = {}
        self.acknowledged: set[bytes] = set()
        self.refused: set[bytes] = set()
        self.forgotten: set[bytes] = set()
        self.arrived: Counter[tuple[bytes, bytes]] = Counter()

    def copy(self) -> "MailHistory":
        other = MailHistory()
        other.sent = dict(self.sent)
        other.acknowledged, other.refused = set(self.acknowledged), set(self.refused)
        other.forgotten, other.arrived = set(self.forgotten), Counter(self.arrived)
        return other

    def deliver(self, body: bytes, recipient: bytes) -> None:
        assert body in self.sent, f"a message that nobody sent: {body[:60]!r}"
        assert recipient in self.sent[body]
        assert body not in self.forgotten, f"its end was on the disk: {body[:60]!r}"
        self.arrived[body, recipient] += 1

    def missing(self) -> set[bytes]:
        return {body for body in self.acknowledged for it in self.sent[body] if not self.arrived[body, it]}


class SimLoop:
    """Everything that could happen next; `step` lets one of it happen."""

    def __init__(self) -> None:
        self.workers = (SimWorker(), SimWorker())
        self.calls: deque[Call] = deque()
        self.timers: deque[Call] = deque()
        self.lines = [self.calls, *(worker.jobs for worker in self.workers)]

    def soon(self, call: Call) -> None:
        self.calls.append(call)

    def later(self, seconds: float, call: Call) -> None:
        self.timers.append(call)

    def step(self, rng: random.Random) -> bool:
        lines = [it for it in self.lines if it]
        if not lines:
            return False
        rng.choice(lines).popleft()()
        return True

    def settle(self, rng: random.Random, timers: bool = True) -> None:
        while True:
            while self.step(rng):
                pass
            if not self.timers or not timers:
                return
            self.timers.popleft()()


class SimWorker:
    """A worker whose jobs run when the simulated loop runs them."""

    def __init__(self) -> None:
        self.jobs: deque[Call] = deque()
        self.is_working = False

    def run(self, job: Callable[[], object], then: Callable[..., None]) -> None:
        def do() -> None:
            result, trouble = None, None
            self.is_working = True
            try:
                result = job()
            except OSError as error:
                trouble = error
            self.is_working = False
            then(result, trouble)

        self.jobs.append(do)


class WatchedMessageStore(MessageStore):
    """Notes whose end is on the disk."""

    forgotten: Callable[[AcceptedMessage], None]

    def _removed(self, message: AcceptedMessage) -> None:
        self.forgotten(message)
        super()._removed(message)


class SimQueueService:
    """One run of the service, from recovery on."""

    def __init__(self, disk: SimDisk, history: MailHistory, goes_direct: bool = False, budget: int = 10**6) -> None:
        self.disk, self.history, self.sim_loop = disk, history, SimLoop()
        self.body_of: dict[int, bytes] = {}
        self.birth = 1
        self.admitted: list[AcceptedMessage] = []
        self.is_stopped = False
        journal, pool = Journal(disk, PATHS.journal, SEGMENT), NumberPool(disk, PATHS)
        self.store = WatchedMessageStore(
            disk, PATHS, pool, journal, self.sim_loop.workers, self.sim_loop, budget, goes_direct
        )
        self.store.forgotten = self._note_end
        self.found = recover(disk, PATHS, pool, journal, self.store, 1)
        assert not self.found.lost
        journal.prepare()

    # Bringing messages.

    def submit(self, body: bytes, recipients: list[bytes], in_file: bool) -> None:
        self.history.sent[body] = recipients
        envelope = b"Fs@x\0" + b"".join(b"T%b\0" % it for it in recipients)
        try:
            number = self.store.take_number()
            if in_file:
                fd = self.disk.open(self.store.path_for(number), os.O_WRONLY | os.O_TRUNC)
                self.disk.write(fd, body[:700])
                self.disk.write(fd, body[700:])
                self.disk.close(fd)
        except OSError:
            self.history.refused.add(body)
            return
        kept = None if in_file else body
        message = AcceptedMessage(number, self.birth, 2, 3, envelope, kept, len(body), crc32(body) if in_file else 0)

        def answer(code: int, _: AcceptedMessage) -> None:
            (self.history.refused if code else self.history.acknowledged).add(body)

        self.store.accept(message, answer)
        self.body_of[message.serial] = body

    # The scheduler.

    def admit(self, message: AcceptedMessage) -> None:
        body = message.body
        if body is None:
            body = self.disk.content(self.store.path_for(message.number)) or b""
        assert body in self.history.sent, f"torn: {body[:60]!r}"
        assert len(body) == message.size
        self.body_of[message.serial] = body
        self.admitted.append(message)

    def finish(self, message: AcceptedMessage) -> None:
        if self.disk.exists(PATHS.info(message.number)):
            self.store.spilled(message.serial)
            return
        for recipient in Envelope.parse(message.envelope).recipients:
            self.history.deliver(self.body_of[message.serial], recipient)
        self.store.delivered(message.serial)

    def let_wait(self, message: AcceptedMessage) -> None:
        number, serial = message.number, message.serial

        def written(ok: bool) -> None:
            if ok:
                self.write_lists(number, Envelope.parse(message.envelope).recipients)
                self.store.spilled(serial)

        if self.disk.exists(PATHS.info(number)):
            self.store.spilled(serial)
        else:
            self.store.needs_spill(serial, written)

    def write_lists(self, number: int, recipients: list[bytes]) -> None:
        for path, text in (
            (PATHS.channel("local", number), b"".join(b"T%b\0" % it for it in recipients)),
            (PATHS.info(number), b"Fs@x\0"),
        ):
            if self.disk.exists(path):
                self.disk.unlink(path)
            fd = self.disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            self.disk.write(fd, text)
            self.disk.sync(fd)
            self.disk.close(fd)
            self.disk.sync_folder(path.rpartition("/")[0])

    def sweep_lists(self) -> None:
        """A scheduler that starts removes what a placing that was cut short left."""
        for number in self.numbers("local"):
            if not self.disk.exists(PATHS.info(number)):
                self.disk.unlink(PATHS.channel("local", number))
                self.disk.sync_folder(PATHS.channel("local", number).rpartition("/")[0])

    def scan_todo(self) -> None:
        for number in self.numbers("todo"):
            if self.disk.exists(PATHS.info(number)):
                self.disk.unlink(PATHS.info(number))
            todo = parse_todo(self.disk.content(PATHS.todo(number)) or b"")
            self.write_lists(number, todo.envelope.recipients)
            self.clean(b"todo", number)

    def deliver_files(self) -> None:
        """Every message in S5 to all of its recipients, and to its end."""
        for number in self.numbers("info"):
            if self.disk.exists(PATHS.todo(number)):
                continue
            body = self.disk.content(PATHS.mess(number))
            assert body is not None, f"info/{number} without mess/{number}"
            lists = self.disk.content(PATHS.channel("local", number)) or b""
            for record in lists.split(b"\0")[:-1]:
                self.history.deliver(body, record[1:])
            for path in (PATHS.channel("local", number), PATHS.info(number)):
                if self.disk.exists(path):
                    self.disk.unlink(path)
                    self.disk.sync_folder(path.rpartition("/")[0])
            self.clean(b"foop", number)

    def clean(self, what: bytes, number: int) -> None:
        """Have the files removed; where names survive one by one, do not go on before that is on the disk.

        (qmail-clean does not flush, so on such a disk a todo/N of an earlier message could come back.)
        """

        def cleaned(answer: bytes) -> None:
            assert answer == b"+"
            if not self.disk.ordered:
                self.disk.sync_folders(
                    [path(number).rpartition("/")[0] for path in (PATHS.intd, PATHS.todo, PATHS.mess)]
                )

        self.store.clean(b"%b/%d/%d" % (what, number % 2, number), cleaned)

    def finish_all(self, rng: random.Random) -> None:
        """Everything that is in the queue goes where it has to."""
        self.sim_loop.settle(rng)
        self.sweep_lists()
        self.store.scheduler_connected(self, set())
        for _ in range(3):
            self.sim_loop.settle(rng)
            admitted, self.admitted = self.admitted, []
            for message in admitted:
                self.finish(message)
            self.sim_loop.settle(rng)
            self.scan_todo()
            self.sim_loop.settle(rng)
            self.deliver_files()
            self.sim_loop.settle(rng)

    def stop(self, rng: random.Random) -> None:
        def stopped() -> None:
            self.is_stopped = True

        self.store.stop(stopped)
        self.sim_loop.settle(rng)
        assert self.is_stopped

    # Looking.

    def numbers(self, folder: str) -> list[int]:
        found = {path.rpartition("/")[2] for path in self.disk.paths() if path.startswith(f"q/{folder}/")}
        return sorted(int(name) for name in found if name.isdigit())

    def faults(self) -> list[tuple[int, set[str]]]:
        """Messages whose files are in no state of the queue.

        Where names survive one by one, an intd/N that qmail-clean had removed may come back alone; it is never read.
        """
        files: dict[int, set[str]] = {}
        for folder in SPLIT if self.disk.ordered else [name for name in SPLIT if name != "intd"]:
            for number in self.numbers(folder):
                files.setdefault(number, set()).add(folder)
        held = {message.number for message in self.store._held.values()}
        return [(number, them) for number, them in files.items() if classify(them, number in held) is None]

    def _note_end(self, message: AcceptedMessage) -> None:
        if message.number_fate != STAYS and self.body_of.get(message.serial):
            self.history.forgotten.add(self.body_of[message.serial])
