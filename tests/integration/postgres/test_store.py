"""The queue service with its queue in PostgreSQL: what is answered is stored, what waits comes back anywhere."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eqmail_core.ipc import admission_protocol as admission
from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.client.async_service import AsyncQueueClient
from eqmail_core.queue.format import exit_codes as q
from eqmail_core.queue.postgres import opening
from tests.integration.postgres.conftest import Node
from tests.support.database import Cluster
from tests.support.queue_harness import QueueHarness, make_site

ENVELOPE = Envelope(b"s@x", [b"r@x", b"q@y"]).render()
MESSAGE = b"Subject: one\n\nbody\n"
Serve = Callable[[str], QueueHarness]


@pytest.fixture
def serve(tmp_path: Path, queue: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts the queue services of nodes."""
    running: list[QueueHarness] = []

    def start(name: str) -> QueueHarness:
        monkeypatch.setattr(opening.socket, "gethostname", lambda: name)
        home = tmp_path / f"{name}{len(running)}"
        home.mkdir()
        harness = QueueHarness(make_site(home, queue.conninfo))
        running.append(harness)
        return harness

    yield start
    for harness in running:
        if not harness.loop.is_closed():
            harness.close()


def submit(harness: QueueHarness, *messages: bytes) -> list[int]:
    """Submit messages; their exit codes."""
    client, codes = AsyncQueueClient(harness.loop, harness.path), []
    for message in messages:
        client.submit(ENVELOPE, message, lambda code, number, when, qp: codes.append(code))
    harness.until(lambda: len(codes) == len(messages))
    client.close()
    return codes


def ready(harness: QueueHarness) -> None:
    """Wait until the node has its lease and numbers."""
    store = harness.service._store
    harness.until(lambda: store.membership.is_active and store._numbers.count)  # type: ignore[attr-defined]


def rows(queue: Cluster) -> list[tuple[object, ...]]:
    return queue.execute("select id, node is not null, attempts, done, bounce from message order by id")


def body(fd: int) -> bytes:
    return os.pread(fd, 10_000_000, 0)


def test_an_answered_message_is_stored_admitted_and_removed(serve: Serve, queue: Cluster) -> None:
    node = serve("ann")
    scheduler = node.scheduler()
    ready(node)
    assert submit(node, MESSAGE) == [q.OK]
    node.until(lambda: scheduler.admitted)
    (admitted, fd), *_ = scheduler.admitted
    assert [row[:2] for row in rows(queue)] == [(admitted.number, True)]
    assert body(fd).endswith(MESSAGE) and admitted.size == len(body(fd)) and admitted.envelope == ENVELOPE[:-1]
    scheduler.send(admission.FINISHED, admitted.serial)
    node.until(lambda: rows(queue) == [])
    scheduler.close()


def test_a_deferred_message_comes_back_with_what_is_left(serve: Serve, queue: Cluster) -> None:
    node = serve("ann")
    scheduler = node.scheduler()
    ready(node)
    submit(node, MESSAGE)
    node.until(lambda: scheduler.admitted)
    first, _ = scheduler.admitted[0]
    for packet in admission.reports(first.serial, b"r@x failed\n" * 10_000):
        scheduler.channel.send(packet)
    scheduler.channel.send(
        admission.deferral(admission.Deferred(first.serial, (None, 1), b"\1", b"4.4.1 refused", True))
    )
    node.until(lambda: len(scheduler.admitted) == 2)
    again, fd = scheduler.admitted[1]
    assert again.earlier == admission.EarlierAttempts(1, (None, 1), b"\1", b"4.4.1 refused", True)
    assert again.serial == first.serial and again.envelope == first.envelope
    assert body(fd)[again.size :] == b"r@x failed\n" * 10_000
    assert body(fd)[: again.size].endswith(MESSAGE)
    scheduler.close()


def test_a_message_waits_for_its_time(serve: Serve, queue: Cluster) -> None:
    node = serve("ann")
    scheduler = node.scheduler()
    ready(node)
    submit(node, MESSAGE)
    node.until(lambda: scheduler.admitted)
    serial = scheduler.admitted[0][0].serial
    scheduler.channel.send(admission.deferral(admission.Deferred(serial, (1 << 33, None), b"", b"")))
    node.until(lambda: rows(queue)[0][1] is False)
    submit(node, MESSAGE)
    node.until(lambda: len(scheduler.admitted) == 2)
    assert scheduler.admitted[1][0].serial != serial
    scheduler.close()


def test_another_node_takes_what_waits(serve: Serve, queue: Cluster) -> None:
    ann, bob = serve("ann"), serve("bob")
    scheduler = ann.scheduler()
    ready(ann)
    submit(ann, MESSAGE)
    ann.until(lambda: scheduler.admitted)
    serial = scheduler.admitted[0][0].serial
    scheduler.close()
    ann.stop()
    assert [row[:2] for row in rows(queue)] == [(serial, False)]
    other = bob.scheduler()
    ready(bob)
    bob.until(lambda: other.admitted)
    assert other.admitted[0][0].serial == serial
    other.close()


def test_a_node_that_died_loses_its_messages_to_another(serve: Serve, queue: Cluster, node: Node) -> None:
    ann = serve("ann")
    scheduler = ann.scheduler()
    ready(ann)
    submit(ann, MESSAGE)
    ann.until(lambda: scheduler.admitted)
    scheduler.close()
    ann.close()
    queue.execute("update node set lease_until = now() - interval '1 second'")
    bob = serve("bob")
    other = bob.scheduler()
    bob.until(lambda: other.admitted)
    other.close()


def test_a_node_whose_messages_were_taken_drops_them_and_begins_anew(serve: Serve, queue: Cluster) -> None:
    ann = serve("ann")
    scheduler = ann.scheduler()
    ready(ann)
    submit(ann, MESSAGE)
    ann.until(lambda: scheduler.admitted)
    serial = scheduler.admitted[0][0].serial
    assert scheduler.lease == admission.LEASED
    queue.execute("update node set epoch = epoch + 1")
    ann.until(lambda: scheduler.lease == admission.LOST)
    ann.until(lambda: scheduler.lease == admission.LEASED)
    scheduler.send(admission.FINISHED, serial)
    ann.until(lambda: len(scheduler.admitted) == 2)
    assert scheduler.admitted[1][0].serial == serial and submit(ann, MESSAGE) == [q.OK]
    scheduler.close()


def test_without_a_scheduler_messages_wait(serve: Serve, queue: Cluster) -> None:
    node = serve("ann")
    ready(node)
    assert submit(node, MESSAGE, MESSAGE) == [q.OK, q.OK]
    node.until(lambda: [row[1] for row in rows(queue)] == [False, False])
    scheduler = node.scheduler()
    node.until(lambda: len(scheduler.admitted) == 2)
    scheduler.close()


def test_a_scheduler_that_forgot_gets_its_messages_again(serve: Serve) -> None:
    node = serve("ann")
    scheduler = node.scheduler()
    ready(node)
    submit(node, MESSAGE, MESSAGE)
    node.until(lambda: len(scheduler.admitted) == 2)
    kept, lost = (admitted.serial for admitted, _ in scheduler.admitted)
    scheduler.close()
    node.until(lambda: not node.service.has_scheduler)
    fresh = node.scheduler([kept])
    node.until(lambda: fresh.admitted)
    assert [admitted.serial for admitted, _ in fresh.admitted] == [lost]
    fresh.close()


def test_a_long_message_travels_in_pieces(serve: Serve, queue: Cluster) -> None:
    long = b"Subject: long\n\n" + b"0123456789abcde\n" * 60_000
    node = serve("ann")
    scheduler = node.scheduler()
    ready(node)
    assert submit(node, long) == [q.OK]
    node.until(lambda: scheduler.admitted)
    first, fd = scheduler.admitted[0]
    assert body(fd).endswith(long) and first.size == os.fstat(fd).st_size
    assert queue.execute("select chunks from message") == [(4,)]
    assert os.fstat(fd).st_nlink == 1
    for packet in admission.reports(first.serial, b"failed\n"):
        scheduler.channel.send(packet)
    scheduler.channel.send(admission.deferral(admission.Deferred(first.serial, (None, 1), b"\1", b"")))
    node.until(lambda: len(scheduler.admitted) == 2)
    again, fd = scheduler.admitted[1]
    assert body(fd)[: again.size].endswith(long) and body(fd)[again.size :] == b"failed\n"
    scheduler.send(admission.FINISHED, again.serial)
    node.until(lambda: queue.execute("select id from message union select id from chunk") == [])
    assert node.files("pid") == []
    scheduler.close()


def test_mail_is_refused_for_now_while_the_database_is_away(serve: Serve, queue: Cluster) -> None:
    queue.stop()
    node = serve("ann")
    scheduler = node.scheduler()
    assert submit(node, MESSAGE) == [q.WRITE_ERROR]
    queue.start()
    ready(node)
    assert submit(node, MESSAGE) == [q.OK]
    node.until(lambda: scheduler.admitted)
    queue.stop("immediate")
    assert submit(node, MESSAGE) == [q.WRITE_ERROR]
    scheduler.send(admission.FINISHED, scheduler.admitted[0][0].serial)
    queue.start()
    node.until(lambda: rows(queue) == [])
    scheduler.close()


def test_a_commit_without_an_answer_is_refused_and_withdrawn(
    serve: Serve, queue: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = serve("ann")
    scheduler = node.scheduler()
    ready(node)
    queue.execute("""
        create function warn() returns trigger language plpgsql as $$
        begin raise warning 'the standby may not have it'; return new; end $$;
        create trigger warn after insert on message for each row execute function warn()
    """)
    assert submit(node, MESSAGE) == [q.WRITE_ERROR]
    queue.execute("drop trigger warn on message")
    node.until(lambda: rows(queue) == [])
    assert scheduler.admitted == [] and submit(node, MESSAGE) == [q.OK]
    scheduler.close()
