"""The set-ups of docs/cluster.md: failover to a standby, nodes behind HAProxy, local mail by LMTP to Dovecot."""

import os
import re
import shutil
import smtplib
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from eqmail_core.queue.postgres.schema import migrate
from tests.support.cluster_nodes import BOX, PAGE, ClusterNode, documented, running_nodes
from tests.support.database import Cluster, ClusterPlace, Pair, programs, running_pair
from tests.support.dovecot import Dovecot
from tests.support.foreign_servers import unpacked
from tests.support.mail_system import free_port, messages, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PROXY, CLIENT = "127.0.0.9", "127.0.0.77"
UID = 64055
"""Owner of Dovecot's mailboxes; it need not have an account."""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    if programs() is None:
        pytest.skip("needs PostgreSQL")
    with running_pair(ClusterPlace(tmp_path / "db1"), ClusterPlace(tmp_path / "db2"), "fsync = off") as made:
        with psycopg.connect(made.conninfo, autocommit=True) as connection:
            migrate(connection)
        yield made


class Sender(threading.Thread):
    """Sends numbered messages to nodes in turn until stopped, and notes what became of each."""

    def __init__(self, nodes: list[ClusterNode]) -> None:
        super().__init__(daemon=True)
        self.accepted: list[str] = []
        self.refused: list[str] = []
        self._nodes = nodes
        self._stopping = threading.Event()

    def run(self) -> None:
        count = 0
        while not self._stopping.is_set():
            count += 1
            subject = f"n{count}."
            try:
                self._nodes[count % len(self._nodes)].send([BOX], f"Subject: {subject}\n\nbody\n")
                self.accepted.append(subject)
            except (smtplib.SMTPDataError, smtplib.SMTPSenderRefused):
                self.refused.append(subject)
                time.sleep(0.1)

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def subjects(maildir: Path) -> set[str]:
    return set(re.findall(r"(?m)^Subject: (n\d+\.)$", "\n".join(messages(maildir))))


def test_a_failover_loses_nothing_and_withdraws_what_was_refused(tmp_path: Path, pair: Pair) -> None:
    with running_nodes(tmp_path, pair.conninfo) as nodes:
        sender = Sender(nodes)
        sender.start()
        until(lambda: len(sender.accepted) >= 20, "mail before the failover")
        pair.fail_over()
        pair.renew_standby()
        before = len(sender.accepted)
        until(lambda: len(sender.accepted) >= before + 20, "mail after the failover", 300)
        sender.stop()
        until(lambda: pair.primary.execute("select count(*) from message") == [(0,)], "an empty queue", 300)
        arrived = subjects(tmp_path / "Maildir")
        assert arrived >= set(sender.accepted)
        assert not arrived & set(sender.refused)


def test_the_documented_settings_of_the_pair_are_those_of_the_tests() -> None:
    assert set(Pair.SETTINGS) <= set(documented("synchronous_standby_names").splitlines())
    command = documented("pg_basebackup")
    assert all(word in command.split() for word in ("-R", "-X", "stream", "-c", "fast"))
    assert "pg_ctl -D DATA promote\n" in PAGE.read_text()


def test_nodes_behind_haproxy_know_the_client_and_one_may_die(tmp_path: Path, cluster: Cluster) -> None:
    cluster.empty_tables()
    with running_nodes(tmp_path, cluster.conninfo, proxyfrom=PROXY) as nodes:
        port = free_port()
        text = documented("defaults").replace(":25", f"127.0.0.1:{port}", 1)
        for name, node in zip(("mx1", "mx2", "mx3"), (*nodes, nodes[1]), strict=True):
            text = re.sub(rf"{name}\.example\.org:25", f"127.0.0.1:{node.port} source {PROXY}", text)
        configuration = tmp_path / "haproxy.cfg"
        configuration.write_text(text)
        log = tmp_path / "haproxy.log"
        command = [unpacked("haproxy") / "usr/sbin/haproxy", "-db", "-f", configuration]
        with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as haproxy:
            try:
                until(lambda: sends(port, "n1."), f"HAProxy: {log.read_text()}")
                until(lambda: "n1." in subjects(tmp_path / "Maildir"), "a message through the proxy")
                text = next(text for text in messages(tmp_path / "Maildir") if "Subject: n1." in text)
                assert CLIENT in text.partition("\n\n")[0]
                nodes[0].kill()
                for number in range(2, 6):
                    until(lambda: sends(port, f"n{number}."), "a node that is left")  # noqa: B023
                wanted = {f"n{number}." for number in range(1, 6)}
                until(lambda: subjects(tmp_path / "Maildir") >= wanted, "all mail", 120)
            finally:
                haproxy.terminate()


def sends(port: int, subject: str) -> bool:
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=60, source_address=(CLIENT, 0)) as client:
            client.sendmail("a@example.net", [BOX], f"Subject: {subject}\r\n\r\nbody\r\n")
    except (OSError, smtplib.SMTPException):
        return False
    return True


@pytest.mark.root
@pytest.mark.skipif(not os.path.exists("/usr/sbin/dovecot"), reason="needs Dovecot")
def test_local_mail_reaches_dovecot_from_any_node(tmp_path: Path, cluster: Cluster) -> None:
    cluster.empty_tables()
    folder = Path(tempfile.mkdtemp(prefix="dc", dir="/tmp"))  # short: the path of a socket has 107 bytes
    folder.chmod(0o755)
    dovecot = Dovecot(folder / "d", folder / "store", UID)
    instruction = documented("|qmail-lmtp").strip().replace("store.example.org:24", f"unix:{dovecot.socket}")
    try:
        with running_nodes(tmp_path, cluster.conninfo, instruction) as nodes:
            for number, node in enumerate(nodes):
                node.send([BOX], f"Subject: n{number}.\n\nbody\n")
            until(lambda: {"n0.", "n1."} <= found(dovecot), "mail of both nodes in the mailbox")
            assert cluster.execute("select count(*) from message where attempts > 0") == [(0,)]
    finally:
        dovecot.stop()
        shutil.rmtree(folder, ignore_errors=True)


def found(dovecot: Dovecot) -> set[str]:
    return set(re.findall(r"(?m)^Subject: (n\d+\.)$", "\n".join(dovecot.messages("box"))))
