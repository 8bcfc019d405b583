"""`eqmail cluster` on a real PostgreSQL: tables, nodes, draining, and what goes wrong."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from eqmail_core.queue.admin.transfer import survey_queue
from eqmail_core.queue.lock import lock_scheduling
from eqmail_core.queue.postgres.connection import DatabaseConnection
from eqmail_core.queue.postgres.database import NewMessage, NodeIdentity, QueueDatabase
from eqmail_core.queue.postgres.schema import migrate
from eqmail_core.site.site_file import parse_site
from eqmail_setup.cli.app import run
from eqmail_setup.diagnostics.checks import database as database_check
from eqmail_setup.errors import ExitCode
from tests.support.database import Cluster
from tests.unit.queue.test_admin_transfer import put

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def eqmail(at_home: str, cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command for a home with a queue in an empty database."""
    cluster.execute("drop schema public cascade; create schema public")

    def command(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(["--home", at_home, *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    assert command("setup", "--queue", f"postgresql:{cluster.conninfo}")[0] == 0
    return command


@pytest.fixture
def node(cluster: Cluster) -> Iterator[Callable[[str], QueueDatabase]]:
    """Makes nodes that hold a lease."""
    made: list[QueueDatabase] = []

    def make(name: str) -> QueueDatabase:
        database = QueueDatabase(DatabaseConnection(cluster.conninfo, name), NodeIdentity())
        database.start(name, "2.0")
        database.beat(600, 0)
        made.append(database)
        return database

    yield make
    for database in made:
        database.connection.close()


def test_setup_keeps_where_the_queue_is(eqmail: Command, at_home: str, cluster: Cluster) -> None:
    assert parse_site(at_home, Path(at_home, "site").read_bytes()).queue_database == cluster.conninfo
    assert eqmail("setup")[0] == 0
    assert parse_site(at_home, Path(at_home, "site").read_bytes()).queue_database == cluster.conninfo
    assert eqmail("setup", "--queue", "directory")[0] == 0
    assert parse_site(at_home, Path(at_home, "site").read_bytes()).queue_database == ""


@pytest.mark.parametrize("place", ["mysql:host=db", "postgresql:", "postgresql:host=db password=secret"])
def test_places_that_are_none_and_passwords_are_refused(eqmail: Command, place: str) -> None:
    code, _, err = eqmail("setup", "--queue", place)
    assert code == ExitCode.USAGE and "without a password" in err


def test_tables_are_created_once(eqmail: Command) -> None:
    code, _, err = eqmail("cluster", "status")
    assert code == ExitCode.FAILED and "has no queue" in err and "eqmail" in err and "cluster init" in err
    assert eqmail("cluster", "init")[:2] == (0, "Created the tables.\n")
    assert "No changes needed" in eqmail("cluster", "init")[1]


def test_nodes_are_shown_drained_and_forgotten(
    eqmail: Command, node: Callable[[str], QueueDatabase], cluster: Cluster
) -> None:
    eqmail("cluster", "init")
    ann, _ = node("ann"), node("bob")
    ann.accept([NewMessage(1, 1, 1, 1, 1, b"Fx\0Ty@z\0", b"", 0)], [])
    code, out, _ = eqmail("cluster", "status")
    assert code == 0 and "2 nodes, 0 messages wait (0 held)" in out
    assert [line.split()[:3] for line in out.splitlines()[1:3]] == [["ann", "active", "1"], ["bob", "active", "0"]]
    assert eqmail("cluster", "drain", "bob")[0] == 0
    nodes = json.loads(eqmail("cluster", "status", "--json")[1])["nodes"]
    assert [entry["is_draining"] for entry in nodes] == [False, True]
    assert eqmail("cluster", "drain", "bob", "--undo")[0] == 0
    code, _, err = eqmail("cluster", "forget", "ann", "--yes")
    assert code == ExitCode.FAILED and "is running" in err
    cluster.execute("update node set lease_until = '-infinity' where name = 'ann'")
    assert eqmail("cluster", "status")[0] == ExitCode.PROBLEMS
    assert eqmail("cluster", "forget", "ann", "--yes")[0] == 0
    assert cluster.execute("select node from message") == [(None,)]
    assert "1 nodes, 1 messages wait" in eqmail("cluster", "status")[1]


def test_the_whole_queue_moves_into_a_database_and_back(eqmail: Command, at_home: str, cluster: Cluster) -> None:
    eqmail("cluster", "init")
    eqmail("setup", "--queue", "directory")
    site = parse_site(at_home, Path(at_home, "site").read_bytes())
    put(site, b"Subject: x\n\nbody\n", 1_000_000, info=b"Fs@x\0", remote=b"Ta@b\0")
    place = f"postgresql:{cluster.conninfo}"
    assert "1 message would be moved." in eqmail("queue", "move", "--to", place, "--dry-run")[1]
    assert cluster.execute("select count(*) from message") == [(0,)]
    code, out, err = eqmail("queue", "move", "--to", place)
    assert (code, out) == (0, "1 message moved.\n") and "eqmail setup --queue 'postgresql:host=" in err
    assert cluster.execute("select count(*) from message") == [(1,)] and not survey_queue(site).messages
    assert eqmail("queue", "move", "--to", place)[1] == "0 messages moved.\n"
    eqmail("setup", "--queue", place)
    assert eqmail("queue", "move", "--to", "directory", "--json")[0] == 0
    assert cluster.execute("select count(*) from message") == [(0,)] and len(survey_queue(site).messages) == 1


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--to", "directory"], "the queue is there already"),
        (["--to", "postgresql:host=/nowhere"], "connection"),
        (["--to", "postgresql:host=db password=x"], "without a password"),
        (["--to", "directory", "7"], "whole queue"),
    ],
)
def test_a_move_that_cannot_be_made_says_why(eqmail: Command, words: list[str], problem: str) -> None:
    eqmail("setup", "--queue", "directory")
    code, _, err = eqmail("queue", "move", *words)
    assert code in (ExitCode.USAGE, ExitCode.FAILED) and problem in err and "Traceback" not in err


def test_a_running_scheduler_or_a_database_without_tables_prevents_a_move(
    eqmail: Command, at_home: str, cluster: Cluster
) -> None:
    eqmail("setup", "--queue", "directory")
    place = f"postgresql:{cluster.conninfo}"
    code, _, err = eqmail("queue", "move", "--to", place)
    assert code == ExitCode.FAILED and "has no queue" in err
    with psycopg.connect(cluster.conninfo, autocommit=True) as connection:
        migrate(connection)
    lock = lock_scheduling(parse_site(at_home, Path(at_home, "site").read_bytes()).queue)
    code, _, err = eqmail("queue", "move", "--to", place)
    os.close(lock)
    assert code == ExitCode.FAILED and "are running; stop them first" in err


def test_an_unknown_node_is_reported(eqmail: Command) -> None:
    eqmail("cluster", "init")
    for words in (("drain", "cis"), ("forget", "cis", "--yes")):
        code, _, err = eqmail("cluster", *words)
        assert code == ExitCode.FAILED and "node 'cis': unknown" in err


def test_a_missing_database_or_shared_queue_is_reported_in_one_line(eqmail: Command, tmp_path: Path) -> None:
    eqmail("setup", "--queue", f"postgresql:host={tmp_path} user=x")
    code, _, err = eqmail("cluster", "status")
    assert code == ExitCode.FAILED and "connection" in err and "Traceback" not in err
    eqmail("setup", "--queue", "directory")
    code, _, err = eqmail("cluster", "status")
    assert code == ExitCode.FAILED and "the queue is in the directory" in err and "setup --queue" in err


def findings(eqmail: Command) -> dict[str, str]:
    found = json.loads(eqmail("doctor", "--only", "database", "--json")[1])["findings"]
    return {entry["id"].partition(".")[2]: entry["message"] for entry in found}


def test_the_doctor_sees_what_holds_up_the_database(
    eqmail: Command, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    eqmail("cluster", "init")
    assert set(findings(eqmail)) == {"no-standby"}
    monkeypatch.setattr(database_check, "MAX_TRANSACTION_S", 0)
    with psycopg.connect(cluster.conninfo) as bystander:
        bystander.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        bystander.execute("select count(*) from message")
        found = findings(eqmail)
        assert "1 sessions idle in a transaction" in found["idle-transaction"]
        assert "1 sessions with an old snapshot" in found["old-snapshot"]
    clock = time.time
    monkeypatch.setattr(database_check.time, "time", lambda: clock() + 3600)
    assert "3600 s apart" in findings(eqmail)["clock"] or "3599 s apart" in findings(eqmail)["clock"]


def test_the_doctor_says_why_the_database_cannot_be_used(eqmail: Command, cluster: Cluster, tmp_path: Path) -> None:
    assert "has no queue" in findings(eqmail)["unusable"]
    eqmail("cluster", "init")
    cluster.execute("update version set number = number + 1")
    assert "upgrade this node" in findings(eqmail)["unusable"]
    cluster.execute("update version set number = number - 1")
    read_only = "options='-c default_transaction_read_only=on'"
    assert eqmail("setup", "--queue", f"postgresql:{cluster.conninfo} {read_only}")[0] == 0
    assert "read-only" in findings(eqmail)["unusable"]
    eqmail("setup", "--queue", f"postgresql:host={tmp_path} user=x")
    assert "connection" in findings(eqmail)["unusable"]
