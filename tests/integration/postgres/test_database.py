"""The statements of a node: what is stored, claimed, given back, taken over, and never by two at once."""

import os
import signal
import threading
from pathlib import Path

import psycopg
import pytest

from eqmail_core.queue.postgres.connection import DatabaseConnection
from eqmail_core.queue.postgres.database import ANYBODY_S, FREED_AT_ONCE, NewMessage, NodeIdentity, QueueDatabase
from eqmail_core.queue.postgres.errors import CommitUnknown, DatabaseAway, DatabaseError, Fenced
from eqmail_core.queue.postgres.schema import STEPS, VERSION, SchemaError, migrate, require_version
from eqmail_core.queue.postgres.stored_message import Deferral
from tests.integration.postgres.conftest import Node
from tests.support.database import Cluster

NOW = 1_700_000_000
ENVELOPE = b"Fann@example.net\0Tbob@example.org\0"


def message(number: int, body: bytes | None = b"body", chunks: int = 0) -> NewMessage:
    return NewMessage(number, NOW, 1000, 77, 4, ENVELOPE, body, chunks)


def deferral(number: int, due: int = NOW, home: int = 5, is_held: bool = False) -> Deferral:
    return Deferral(number, (None, due), home, b"\1", b"4.4.1 refused", b"failed\n", is_held)


def waiting(cluster: Cluster) -> list[int]:
    return [int(str(row[0])) for row in cluster.execute("select id from message where node is null order by id")]


def test_an_accepted_message_is_owned_and_removed_when_it_has_ended(node: Node, queue: Cluster) -> None:
    ann = node("ann")
    ann.accept([message(1), message(2)], [])
    ann.accept([message(3)], [1, 2])
    assert queue.execute("select id, node, epoch from message") == [(3, ann.identity.node, ann.identity.epoch)]
    ann.remove([3])
    assert queue.execute("select count(*) from message") == [(0,)]


def test_a_deferred_message_is_claimed_with_its_state(node: Node) -> None:
    ann, bob = node("ann"), node("bob")
    ann.accept([message(1)], [])
    assert ann.defer([deferral(1)]) == 1
    assert bob.claim(NOW - 1, range(64), 10) == []
    assert bob.claim(NOW, [4], 10) == []
    (claimed,) = bob.claim(NOW, [5], 10)
    assert claimed[:1] + claimed[5:8] + claimed[10:11] == (1, 1, None, NOW, b"\1")
    assert (claimed.body, claimed.bounce, claimed.replies) == (b"body", b"failed\n", b"4.4.1 refused")
    assert (claimed.envelope, claimed.uid, claimed.qp, claimed.size, claimed.birth) == (ENVELOPE, 1000, 77, 4, NOW)
    assert ann.claim(NOW + 1000, range(64), 10) == []


def test_a_long_overdue_message_can_be_claimed_by_any_node(node: Node) -> None:
    ann = node("ann")
    ann.accept([message(1)], [])
    ann.defer([deferral(1, home=7)])
    assert ann.claim(NOW + ANYBODY_S - 1, [3], 10) == []
    assert len(ann.claim(NOW + ANYBODY_S, [3], 10)) == 1


def test_claims_at_the_same_time_share_the_messages(node: Node, queue: Cluster) -> None:
    ann, bob = node("ann"), node("bob")
    ann.accept([message(number) for number in range(1, 101)], [])
    ann.defer([deferral(number) for number in range(1, 101)])
    with psycopg.connect(queue.conninfo) as slow:
        slow.execute("select id from message where id <= 50 for update")
        taken = {claimed.id for claimed in bob.claim(NOW, range(64), 1000)}
    assert taken == set(range(51, 101))
    assert {claimed.id for claimed in ann.claim(NOW, range(64), 1000)} == set(range(1, 51))


def test_nothing_of_an_ended_epoch_is_written(node: Node, queue: Cluster) -> None:
    late = node("ann")
    late.accept([message(1), message(2)], [])
    fresh = QueueDatabase(late.connection, NodeIdentity())
    assert fresh.start("ann", "test") == (late.identity.node, late.identity.epoch + 1)
    with pytest.raises(Fenced):
        late.accept([message(3)], [1])
    assert fresh.free_stale() == 1
    assert late.defer([deferral(2)]) == 0
    assert late.claim(NOW, range(64), 10) == []
    with pytest.raises(Fenced):
        late.beat(10, 0)
    assert waiting(queue) == [2]


def test_the_messages_of_a_node_whose_lease_is_over_become_free(node: Node, queue: Cluster) -> None:
    dead, alive = node("dead"), node("alive")
    count = FREED_AT_ONCE + 1
    dead.accept([message(number) for number in range(1, count + 1)], [])
    alive.accept([message(count + 1)], [])
    assert alive.expire_nodes() == []
    dead.beat(-1, 0)
    assert alive.expire_nodes() == ["dead"]
    assert alive.expire_nodes() == []
    assert (alive.free_stale(), alive.free_stale(), alive.free_stale()) == (FREED_AT_ONCE, 1, 0)
    assert waiting(queue) == list(range(1, count + 1))
    with pytest.raises(Fenced):
        dead.remove([1]) or dead.accept([message(9999)], [])


def test_a_node_that_starts_again_frees_what_it_had(node: Node, queue: Cluster) -> None:
    ann = node("ann")
    ann.accept([message(1)], [])
    ann.start("ann", "test")
    assert ann.free_stale() == 1
    assert waiting(queue) == [1]


def test_a_draining_node_claims_nothing_and_is_notified(node: Node, queue: Cluster) -> None:
    ann, bob = node("ann"), node("bob")
    ann.accept([message(1)], [])
    ann.defer([deferral(1)])
    queue.execute("update node set draining = true where name = 'ann'")
    assert ann.beat(60, 0) is True
    assert ann.claim(NOW + 100, range(64), 10) == []
    assert bob.live_nodes() == [bob.identity.node]
    assert len(bob.claim(NOW + 100, range(64), 10)) == 1


def test_held_messages_wait(node: Node) -> None:
    ann = node("ann")
    ann.accept([message(1)], [])
    ann.defer([deferral(1, is_held=True)])
    assert ann.claim(NOW + 10_000, range(64), 10) == []


def test_numbers_are_never_given_twice(node: Node) -> None:
    ann, bob = node("ann"), node("bob")
    numbers = [number for database in (ann, bob, ann) for number in database.take_numbers()]
    assert len(numbers) == len(set(numbers)) and min(numbers) > 0


def test_pieces_of_a_body_go_with_their_message(node: Node, queue: Cluster) -> None:
    ann = node("ann")
    for n, data in enumerate((b"one", b"two")):
        ann.store_chunk(1, n, data)
        ann.store_chunk(2, n, data)
    ann.accept([message(1, None, 2)], [])
    assert [ann.chunk(1, n) for n in range(3)] == [b"one", b"two", b""]
    ann.remove([1])
    assert queue.execute("select distinct id from chunk") == [(2,)]
    assert ann.sweep_chunks() == 0
    queue.execute("update chunk set stored = now() - interval '2 hours'")
    assert ann.sweep_chunks() == 2


def test_a_withdrawn_message_is_gone_also_when_its_commit_comes_later(node: Node, queue: Cluster) -> None:
    ann = node("ann")
    ann.accept([message(1)], [])
    ann.withdraw([1, 2])
    assert queue.execute("select count(*) from message") == [(0,)]
    with psycopg.connect(queue.conninfo) as late:
        late.execute(
            "insert into message (id, node, epoch, due, birth, uid, qp, size, envelope) "
            "values (3, 1, 1, 0, 0, 0, 0, 0, '')"
        )
        ann.connection.query("set lock_timeout = '100ms'")
        with pytest.raises(DatabaseError):
            ann.withdraw([3])
        late.commit()
    ann.withdraw([3])
    assert queue.execute("select count(*) from message") == [(0,)]


def test_a_statement_that_arrives_late_does_nothing(node: Node, queue: Cluster) -> None:
    """It was sent before the connection was cut, and the server reads it after the message was withdrawn."""
    ann = node("ann")
    pid = ann.connection.query("select pg_backend_pid()")[0][0]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGSTOP)
    try:
        timer = threading.Timer(0.2, ann.connection.expire)
        timer.start()
        with pytest.raises(CommitUnknown):
            ann.accept([message(1)], [])
        with pytest.raises(DatabaseAway, match="does not end"):
            ann.withdraw([1])
    finally:
        os.kill(pid, signal.SIGCONT)
    ann.withdraw([1])
    assert queue.execute(f"select count(*) from pg_stat_activity where pid = {pid}") == [(0,)]
    assert queue.execute("select count(*) from message") == [(0,)]


def test_a_connection_that_ends_during_a_commit_is_unknown_and_comes_back(node: Node, queue: Cluster) -> None:
    ann = node("ann")
    ann.accept([message(1)], [])

    def cut(cursor: "psycopg.Cursor[tuple[object, ...]]") -> None:
        queue.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'ann'")
        cursor.execute("select 1")

    with pytest.raises(CommitUnknown):
        ann.connection.run(cut)
    ann.accept([message(2)], [1])


def test_a_warning_at_a_commit_makes_it_unknown(node: Node) -> None:
    ann = node("ann")
    with pytest.raises(CommitUnknown, match="not have been replicated"):
        ann.connection.query("do $$ begin raise warning 'it may not have been replicated'; end $$")


def test_a_statement_that_the_server_refuses_is_a_certain_no(node: Node) -> None:
    ann = node("ann")
    ann.accept([message(1)], [])
    with pytest.raises(DatabaseError, match="duplicate key") as caught:
        ann.accept([message(1)], [])
    assert type(caught.value) is DatabaseError


def test_no_database_is_away(tmp_path: Path) -> None:
    with pytest.raises(DatabaseAway):
        DatabaseConnection(f"host={tmp_path} user=eqmail", "ann").query("select 1")


def test_tables_of_another_version_are_not_used(queue: Cluster) -> None:
    with psycopg.connect(queue.conninfo, autocommit=True) as connection:
        require_version(connection)
        assert migrate(connection) == (VERSION, VERSION)
        connection.execute("update version set number = %s", (VERSION + 1,))
        with pytest.raises(SchemaError, match="upgrade this node"):
            migrate(connection)
        with pytest.raises(DatabaseAway, match="upgrade this node"):
            DatabaseConnection(queue.conninfo, "ann").query("select 1")
        connection.execute("drop table version")
        with pytest.raises(SchemaError, match="eqmail cluster init"):
            require_version(connection)


@pytest.mark.parametrize("before", range(1, VERSION))
def test_an_older_queue_is_brought_to_this_version_with_its_mail(before: int, queue: Cluster) -> None:
    queue.execute("drop schema public cascade; create schema public")
    for step in STEPS[:before]:
        queue.execute(step)
    queue.execute(f"insert into version (number) values ({before})")
    queue.execute("insert into node (name, epoch) values ('ann', 3)")
    queue.execute(
        "insert into message (id, due, due_remote, birth, uid, qp, size, envelope, done, bounce, body)"
        " values (7, 5, 5, 4, 1, 2, 4, 'Fs@x\\000Tr@y\\000', '', 'no', 'body')"
    )
    with psycopg.connect(queue.conninfo, autocommit=True) as connection:
        with pytest.raises(SchemaError, match=f"version {before}, older than {VERSION}; run: eqmail cluster init"):
            require_version(connection)
        assert migrate(connection) == (before, VERSION)
        require_version(connection)
        assert migrate(connection) == (VERSION, VERSION)
    database = QueueDatabase(DatabaseConnection(queue.conninfo, "bob"), NodeIdentity())
    database.start("bob", "test")
    database.beat(60, 0)
    (claimed,) = database.claim(10**9, range(64), 10)
    assert (claimed.id, claimed.envelope, claimed.body, claimed.bounce) == (7, b"Fs@x\0Tr@y\0", b"body", b"no")
    database.connection.close()
