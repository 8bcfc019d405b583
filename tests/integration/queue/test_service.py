"""The queue service on real sockets: submissions, admissions, limits, the end and the next start."""

import fcntl
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_core.ipc import admission_protocol as admission
from eqmail_core.ipc import submission_protocol as wire
from eqmail_core.ipc.packet_socket import connect_to
from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.client.async_service import AsyncQueueClient
from eqmail_core.queue.format import exit_codes as q
from eqmail_core.queue.format.todo import parse_todo
from eqmail_core.queue.lock import QueueInUse, lock_journal
from eqmail_core.queue.service.budget import SubmitterBudget
from eqmail_core.queue.service.service import QueueService, QueueServiceError
from tests.support.queue_harness import QueueHarness, make_site

ROOT = Path(__file__).parents[3]
ENVELOPE = Envelope(b"s@x", [b"r@x", b"q@x"]).render()
MESSAGE = b"Subject: one\n\nbody\n"
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
RECEIVED = rb"Received: \(qmail \d+ invoked by uid %d\); \d+ \w+ \d+ \d\d:\d\d:\d\d [+-]\d{4}\n" % os.getuid()


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[QueueHarness]:
    harness = QueueHarness(make_site(tmp_path))
    yield harness
    if not harness.loop.is_closed():
        harness.close()


class Results:
    """Collects results of submissions."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.numbers: list[int] = []
        self.qps: list[int] = []

    def __call__(self, code: int, number: int, when: int, qp: int) -> None:
        self.codes.append(code)
        self.numbers.append(number)
        self.qps.append(qp)


def submit(harness: QueueHarness, *messages: bytes) -> Results:
    link, results = AsyncQueueClient(harness.loop, harness.path), Results()
    for message in messages:
        link.submit(ENVELOPE, message, results)
    harness.until(lambda: len(results.codes) == len(messages))
    link.close()
    return results


def content(fd: int) -> bytes:
    return os.pread(fd, 10_000_000, 0)


def test_a_message_is_answered_and_handed_to_the_scheduler_sealed(harness: QueueHarness) -> None:
    scheduler = harness.scheduler()
    results = submit(harness, MESSAGE)
    assert results.codes == [0] and results.qps == [os.getpid()]
    harness.until(lambda: scheduler.admitted)
    it, fd = scheduler.admitted[0]
    assert (it.number, it.uid, it.qp, it.envelope) == (results.numbers[0], os.getuid(), os.getpid(), ENVELOPE[:-1])
    assert re.fullmatch(RECEIVED + MESSAGE, content(fd))
    assert it.size == os.fstat(fd).st_size
    assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) == SEALS
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    scheduler.send(admission.FINISHED, it.serial)
    scheduler.close()
    harness.stop()
    assert not harness.files("mess") and not harness.files("pid") and not harness.files("todo")


def test_many_messages_over_one_connection_are_kept_apart(harness: QueueHarness) -> None:
    scheduler = harness.scheduler()
    results = submit(harness, *(b"message %d\n" % count for count in range(50)))
    assert results.codes == [0] * 50
    assert len(set(results.numbers)) == len(set(results.qps)) == 50
    harness.until(lambda: len(scheduler.admitted) == 50)
    assert len({it.serial for it, _ in scheduler.admitted}) == 50
    scheduler.close()


@pytest.mark.parametrize("size", [65000, 66000, 300_000])
def test_a_long_message_arrives_whole(harness: QueueHarness, size: int) -> None:
    scheduler = harness.scheduler()
    message = os.urandom(size // 2).hex().encode()
    assert submit(harness, message).codes == [0]
    harness.until(lambda: scheduler.admitted)
    it, fd = scheduler.admitted[0]
    assert re.fullmatch(RECEIVED + re.escape(message), content(fd))
    scheduler.send(admission.FINISHED, it.serial)
    scheduler.close()
    harness.stop()
    assert not harness.files("pid")


def test_a_message_in_pieces_waits_for_its_commit_and_can_be_given_up(harness: QueueHarness) -> None:
    scheduler = harness.scheduler()
    results, ready = Results(), []
    link = AsyncQueueClient(harness.loop, harness.path)
    kept, dropped = (link.open_long(results, lambda: ready.append(1)) for _ in range(2))
    piece = b"z" * 60000
    for _ in range(40):
        if not kept.write(piece):
            count = len(ready)
            harness.until(lambda count=count: len(ready) > count)
        dropped.write(piece)
        harness.until(lambda: True)
    dropped.abort()
    kept.commit(ENVELOPE)
    harness.until(lambda: results.codes)
    assert results.codes == [0]
    harness.until(lambda: scheduler.admitted)
    assert scheduler.admitted[0][0].size > 40 * 60000
    scheduler.close()
    harness.stop()
    assert len(harness.files("mess")) == 1
    assert not harness.files("pid")


def test_a_short_message_for_very_many_recipients_is_queued_once(harness: QueueHarness) -> None:
    results, link = Results(), AsyncQueueClient(harness.loop, harness.path)
    recipients = [b"recipient%d@list.example.org" % count for count in range(8000)]
    link.submit(Envelope(b"s@x", recipients).render(), MESSAGE, results)
    harness.until(lambda: len(results.codes) == 1)
    assert results.codes == [0]
    (todo,) = harness.files("todo")
    assert parse_todo(todo.read_bytes()).envelope.recipients == recipients
    link.close()


def test_without_a_scheduler_a_message_is_queued_as_files(harness: QueueHarness) -> None:
    results = submit(harness, MESSAGE)
    assert results.codes == [0]
    (mess,), (todo,) = harness.files("mess"), harness.files("todo")
    assert mess.name == todo.name == str(results.numbers[0]) == str(mess.stat().st_ino)
    assert mess.stat().st_mode & 0o777 == todo.stat().st_mode & 0o777 == 0o644
    known = parse_todo(todo.read_bytes())
    assert (known.uid, known.envelope) == (os.getuid(), Envelope(b"s@x", [b"r@x", b"q@x"]))


def test_dsn_parameters_are_stored_with_their_message(harness: QueueHarness) -> None:
    results, link = Results(), AsyncQueueClient(harness.loop, harness.path)
    link.submit(ENVELOPE + b"W E:id 1:n:\0", MESSAGE, results)
    link.submit(ENVELOPE + b"W rubbish\0", MESSAGE, results)
    link.submit(ENVELOPE + b"W U\0", b"x" * 100_000, results)
    harness.until(lambda: len(results.codes) == 3)
    link.close()
    assert results.codes == [0] * 3
    found = sorted(parse_todo(todo.read_bytes()).envelope.dsn for todo in harness.files("todo"))
    assert found == [b"", b"W E:id 1:n:", b"W U"]


def test_a_message_that_has_to_wait_is_written_and_then_forgotten(harness: QueueHarness) -> None:
    scheduler = harness.scheduler()
    submit(harness, MESSAGE)
    harness.until(lambda: scheduler.admitted)
    it, _ = scheduler.admitted[0]
    scheduler.send(admission.WAITS, it.serial)
    harness.until(lambda: scheduler.answers)
    assert admission.split_spill_request(scheduler.answers[0]) == (it.serial, True)
    (mess,) = harness.files("mess")
    assert mess.name == str(it.number) and mess.read_bytes().endswith(MESSAGE)
    scheduler.send(admission.PLACED, it.serial)
    scheduler.channel.send(admission.CLEAN + b"foop/%d\0" % it.number)
    scheduler.channel.send(admission.CLEAN + b"mess/%d\0" % it.number)
    harness.until(lambda: len(scheduler.answers) == 3)
    assert scheduler.answers[1:] == [b"X+", b"Xx"]
    assert not harness.files("mess")
    scheduler.close()


def test_after_a_sudden_death_everything_unfinished_is_admitted_again(tmp_path: Path) -> None:
    harness = QueueHarness(make_site(tmp_path))
    scheduler = harness.scheduler()
    submit(harness, b"small\n", b"waits\n", b"L" * 200_000, b"done\n")
    harness.until(lambda: len(scheduler.admitted) == 4)
    of = {content(fd).split(b"\n", 1)[1][:5]: it for it, fd in scheduler.admitted}
    scheduler.send(admission.WAITS, of[b"waits"].serial)
    scheduler.send(admission.FINISHED, of[b"done\n"].serial)
    harness.until(lambda: scheduler.answers)
    submit(harness, b"last\n")  # takes the tombstone along
    scheduler.close()
    harness.close()
    harness = QueueHarness(harness.site)
    scheduler = harness.scheduler()
    harness.until(lambda: len(scheduler.admitted) == 4)
    again = {content(fd).split(b"\n", 1)[1][:5]: it for it, fd in scheduler.admitted}
    assert set(again) == {b"small", b"waits", b"LLLLL", b"last\n"}
    for name in (b"small", b"waits", b"LLLLL"):
        assert (again[name].serial, again[name].number) == (of[name].serial, of[name].number)
    scheduler.close()
    harness.stop()
    assert len(harness.files("mess")) == len(harness.files("todo")) == 4


def test_only_the_scheduler_may_register(harness: QueueHarness) -> None:
    harness.service._listener.scheduler_uid = os.getuid() + 1
    sock = connect_to(harness.path, 60)
    sock.send(admission.HELLO)
    harness.until(lambda: not harness.service._listener._open_connections)
    assert harness.receive(sock) == b""
    sock.close()


def test_connections_per_user_are_limited(harness: QueueHarness) -> None:
    listener = harness.service._listener
    listener.context.accounts.clear()
    listener.per_user = 2
    socks = [connect_to(harness.path, 60) for _ in range(3)]
    harness.until(lambda: len(harness.service._listener._open_connections) == 2)
    assert harness.receive(socks[2]) == b""
    socks[0].close()
    harness.until(lambda: len(harness.service._listener._open_connections) == 1)
    again = connect_to(harness.path, 60)
    again.send(wire.whole(7, ENVELOPE, MESSAGE))
    assert wire.split_result(harness.receive(again))[:2] == (7, 0)
    for sock in (*socks, again):
        sock.close()


@pytest.mark.parametrize("packet", [b"S", b"Z\0\0\0\0", b"S\1\0\0\0\xff\0\0\0short", b"B\1"])
def test_malformed_packets_end_their_connection_only(harness: QueueHarness, packet: bytes) -> None:
    sock = connect_to(harness.path, 60)
    sock.send(packet)
    harness.until(lambda: not harness.service._listener._open_connections)
    assert harness.receive(sock) == b""
    sock.close()
    assert submit(harness, MESSAGE).codes == [0]


def test_a_client_that_goes_away_leaves_nothing(harness: QueueHarness) -> None:
    sock = connect_to(harness.path, 60)
    for _ in range(5):
        sock.send(wire.tagged(wire.BODY, 1, b"x" * 60000))
    harness.until(lambda: any(path.stat().st_size for path in harness.files("pid")))
    sock.close()
    harness.until(lambda: not any(path.stat().st_size for path in harness.files("pid")))
    harness.stop()
    assert not harness.files("mess") and not harness.files("pid")


def test_submitters_over_the_limit_wait_and_lose_nothing(
    harness: QueueHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eqmail_core.queue.service.submission_context.MAX_LOAD", 100_000)
    scheduler = harness.scheduler()
    assert submit(harness, *([b"y" * 40000] * 300)).codes == [0] * 300
    harness.until(lambda: len(scheduler.admitted) == 300)
    scheduler.close()


# The light client, as a program.


def qmail_queue(harness: QueueHarness, message: bytes, envelope: bytes) -> int:
    """Run the program while the service runs here; its exit code."""
    read, write = os.pipe()
    os.write(write, envelope)
    os.close(write)
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from eqmail_core.programs.qmail_queue import main\n"
        f"sys.exit(main([b'qmail-queue'], {{b'EQMAIL_HOME': {harness.site.home.encode()!r}}}))"
    )
    done: list[int] = []

    def run() -> None:
        process = subprocess.Popen([sys.executable, "-ISc", code], stdin=subprocess.PIPE, stdout=read)
        process.communicate(message)
        done.append(process.returncode)

    thread = threading.Thread(target=run)
    thread.start()
    harness.until(lambda: done)
    thread.join()
    os.close(read)
    return done[0]


@pytest.mark.parametrize(
    ("envelope", "code"),
    [
        (ENVELOPE, 0),
        (b"F\0\0", 0),
        (b"Fa@b\0", 54),
        (b"Xa@b\0", 91),
        (b"Fa@b\0Xq\0\0", 91),
        (b"F" + b"s" * 1003 + b"\0\0", 11),
    ],
)
def test_qmail_queue_keeps_its_exit_codes(harness: QueueHarness, envelope: bytes, code: int) -> None:
    assert qmail_queue(harness, MESSAGE, envelope) == code
    assert len(harness.files("todo")) == (code == 0)


def test_qmail_queue_passes_on_a_long_message(harness: QueueHarness) -> None:
    message = b"0123456789abcde\n" * 20000
    assert qmail_queue(harness, message, ENVELOPE) == 0
    (mess,) = harness.files("mess")
    assert re.fullmatch(RECEIVED + message, mess.read_bytes())


def test_two_services_never_work_on_one_queue(harness: QueueHarness) -> None:
    with pytest.raises(QueueInUse):
        lock_journal(harness.site.queue)
    with (
        socket.socket() as listener,
        pytest.raises(QueueServiceError, match="another queue service works on this queue"),
    ):
        QueueService(harness.site, listener, harness.loop)


# What an ordinary user may take.


def as_ordinary_user(harness: QueueHarness) -> None:
    """From now on our own account does not count as a mail account."""
    harness.service._listener.context.accounts.clear()


def put(harness: QueueHarness, sock: socket.socket, packet: bytes) -> None:
    """Send a packet while the service runs."""
    sock.setblocking(False)

    def sent() -> bool:
        try:
            return bool(sock.send(packet))
        except BlockingIOError:
            return False
        except OSError:
            return True

    harness.until(sent)


def test_one_connection_with_unfinished_envelopes_takes_a_bounded_memory(harness: QueueHarness) -> None:
    as_ordinary_user(harness)
    memory = harness.service._listener.context.memory
    memory._whole, memory._limit_of_one = 4 << 20, 1 << 20
    sock = connect_to(harness.path, 60)
    for tag in range(8):
        for _ in range(8):
            put(harness, sock, wire.tagged(wire.ENVELOPE, tag, b"F" * wire.MAX_PIECE))
            assert memory.total <= 1 << 20
    for tag in range(8):
        put(harness, sock, wire.tagged(wire.COMMIT, tag))
    codes = [wire.split_result(harness.receive(sock))[1] for _ in range(8)]
    assert codes.count(q.NO_MEMORY) == 6
    assert memory.total == 0
    assert submit(harness, MESSAGE).codes == [0]
    sock.close()


def test_an_ordinary_connection_has_few_unfinished_messages(harness: QueueHarness) -> None:
    as_ordinary_user(harness)
    sock = connect_to(harness.path, 60)
    for tag in range(9):
        put(harness, sock, wire.tagged(wire.BODY, tag, b"x" * wire.MAX_PIECE))
        put(harness, sock, wire.tagged(wire.BODY, tag, b"x" * 10))
    harness.until(lambda: not harness.service._listener._open_connections)
    assert harness.service._listener.context.places.total == harness.service._listener.context.memory.total == 0
    sock.close()


def test_idle_connections_are_closed_when_another_needs_the_slot(
    harness: QueueHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_ordinary_user(harness)
    context = harness.service._listener.context
    context.places._limit_of_one = 4
    now = context.now()
    monkeypatch.setattr(context, "now", lambda: now)
    idle = [connect_to(harness.path, 60) for _ in range(2)]
    for sock in idle:
        sock.send(wire.tagged(wire.BODY, 1, b"begun"))
    harness.until(lambda: context.places.total == 4)
    third = connect_to(harness.path, 60)
    assert harness.receive(third) == b""
    third.close()
    now += 301
    fourth = connect_to(harness.path, 60)
    fourth.send(wire.whole(7, ENVELOPE, MESSAGE))
    assert wire.split_result(harness.receive(fourth))[:2] == (7, 0)
    assert [wire.split_result(harness.receive(sock))[1] for sock in idle] == [q.TIMEOUT, q.TIMEOUT]
    for sock in (*idle, fourth):
        sock.close()


def test_mail_accounts_have_a_reserve() -> None:
    budget = SubmitterBudget(100, {7})
    assert budget.take(1, 25) and not budget.take(1, 1)
    assert budget.take(2, 25) and not budget.take(3, 1)
    assert budget.take(7, 50) and not budget.take(7, 1)
    budget.give_back(1, 25)
    assert budget.take(3, 20) and budget.take(7, 5)
    assert budget.total == 100


@pytest.mark.parametrize(
    "packet",
    [
        admission.FINISHED + b"1234567",
        admission.PLACED + b"x" * 9,
        admission.WAITS + b"",
        admission.WAITS + b"1",
        admission.CLEAN + b"foop/" + b"9" * 5000 + b"\0",
        b"?",
    ],
)
def test_a_bad_packet_of_the_scheduler_never_ends_the_service(harness: QueueHarness, packet: bytes) -> None:
    scheduler = harness.scheduler()
    scheduler.channel.send(packet)
    harness.until(lambda: not scheduler.channel.pending)
    assert submit(harness, MESSAGE).codes == [0]
    scheduler.close()
    assert harness.service.error is None


def test_a_bad_greeting_never_ends_the_service(harness: QueueHarness) -> None:
    sock = connect_to(harness.path, 60)
    sock.send(admission.HELLO + b"123")
    assert harness.receive(sock) == b""
    sock.close()
    assert submit(harness, MESSAGE).codes == [0]
    assert harness.service.error is None
