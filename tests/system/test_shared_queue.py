"""Two nodes with one queue: mail that waits at one is delivered by the other, and a dead node's mail goes on."""

import os
import re
import signal
import smtplib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eqmail_core.system.lease_file import LeaseFile
from tests.conftest import eqmail
from tests.support.database import Cluster
from tests.support.mail_system import MailSystem, make_maildir, messages, until
from tests.support.scripted_server import ScriptedServer

pytestmark = pytest.mark.slow
ME = "mail.example.org"
Node = Callable[..., MailSystem]


@pytest.fixture
def node(tmp_path: Path, cluster: Cluster) -> Iterator[Node]:
    """Makes and starts a node of the queue, with mailboxes of its own; `route`: the port for all remote mail."""
    running: list[MailSystem] = []
    cluster.empty_tables()

    def make(name: str, route: int = 0, **settings: str) -> MailSystem:
        home = tmp_path / name
        for words in (["setup", "--single-user"], ["config-fast", ME]):
            done = eqmail("--home", home, *words)
            assert done.returncode == 0, done.stdout + done.stderr
        with (home / "site").open("a") as site:
            site.write(f"queue postgresql:{cluster.conninfo}\n")
        (home / "control/queuenode").write_text(f"{name}\n")
        for setting, text in settings.items():
            (home / "control" / setting).write_text(f"{text}\n")
        if route:
            (home / "control/smtproutes").write_text(f":127.0.0.1:{route}\n")
        alias = home / "alias"
        make_maildir(alias / "Maildir")
        (alias / ".qmail-box").write_text("./Maildir/\n")
        (alias / ".qmail-reject").write_text("|echo not today; exit 100\n")
        (alias / ".qmail-later").write_text(f"|test -e {tmp_path}/open || exit 111\n./Maildir/\n")
        (alias / ".qmail-busy").write_text("|echo come back tomorrow; exit 111\n")
        (alias / ".qmail-postmaster").write_text("./Maildir/\n")
        mail_system = MailSystem(home)
        running.append(mail_system)
        until(lambda: accepts(mail_system), f"node {name} has the database")
        return mail_system

    yield make
    for mail_system in running:
        if mail_system.process and mail_system.process.poll() is None:
            mail_system.stop()


def accepts(mail_system: MailSystem) -> bool:
    try:
        mail_system.send([f"box@{ME}"], "Subject: first\n\nbody\n")
    except Exception:
        return False
    return True


def subjects(mail_system: MailSystem) -> list[str]:
    found = messages(mail_system.home / "alias/Maildir")
    return sorted(re.findall(r"(?m)^Subject: (.*)$", "\n".join(found)))


def waiting(cluster: Cluster) -> list[tuple[object, ...]]:
    return cluster.execute("select node, attempts from message")


def due_now(cluster: Cluster) -> None:
    cluster.execute("update message set due = 1, due_local = least(due_local, 1), due_remote = least(due_remote, 1)")


def test_mail_is_delivered_and_gone(node: Node, cluster: Cluster) -> None:
    ann = node("ann")
    ann.send([f"box@{ME}"], "Subject: one\n\nhello\n")
    until(lambda: subjects(ann) == ["first", "one"], "the message in the Maildir")
    until(lambda: waiting(cluster) == [], "an empty queue")
    assert not list((ann.home / "queue/mess").rglob("[0-9]*/[0-9]*"))


def test_a_deferred_message_is_delivered_by_another_node(node: Node, cluster: Cluster, tmp_path: Path) -> None:
    ann = node("ann")
    ann.send([f"box@{ME}", f"later@{ME}"], "Subject: two\n\nhello\n")
    until(lambda: subjects(ann) == ["first", "two"], "the recipient that is there")
    until(lambda: waiting(cluster) == [(None, 1)], "the other one waits")
    ann.stop()
    bob = node("bob")
    (tmp_path / "open").touch()
    due_now(cluster)
    until(lambda: subjects(bob) == ["first", "two"], "the message at the other node, for the other recipient alone")
    until(lambda: waiting(cluster) == [], "an empty queue")
    assert "Delivered-To: later@" in messages(bob.home / "alias/Maildir")[-1] + messages(bob.home / "alias/Maildir")[0]


def test_tools_show_and_change_what_waits(node: Node, cluster: Cluster) -> None:
    ann = node("ann")
    for subject in ("one", "two", "three"):
        ann.send([f"later@{ME}"], f"Subject: {subject}\n\nhello\n", sender=f"box@{ME}")
    until(lambda: [row[0] for row in waiting(cluster)] == [None] * 3, "three messages wait")
    numbers = [str(row[0]) for row in cluster.execute("select id from message order by id")]

    def queue(*words: str) -> str:
        done = eqmail("--home", ann.home, "queue", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    listed = queue("list")
    assert all(number in listed for number in numbers) and listed.count(f"later@{ME}") == 3
    read = subprocess.run([ann.home / "bin/qmail-qread"], capture_output=True, text=True, check=True).stdout
    assert read.count(f"\tlocal\tlater@{ME}") == 3 and f"#{numbers[0]}" in read
    counted = subprocess.run([ann.home / "bin/qmail-qstat"], capture_output=True, text=True, check=True).stdout
    assert counted.startswith("messages in queue: 3\n")
    queue("hold", numbers[0])
    assert cluster.execute("select id from message where is_held") == [(int(numbers[0]),)]
    queue("release", numbers[0])
    assert cluster.execute("select id from message where is_held") == []
    queue("delete", numbers[1], "--yes")
    queue("bounce", numbers[2], "--yes")
    until(lambda: any("taken this message out" in text for text in messages(ann.home / "alias/Maildir")), "the bounce")
    until(lambda: cluster.execute("select id from message") == [(int(numbers[0]),)], "the first message alone waits")


def test_a_bounce_knows_the_failures_of_all_attempts(node: Node, cluster: Cluster, tmp_path: Path) -> None:
    ann = node("ann")
    ann.send([f"reject@{ME}", f"later@{ME}"], "Subject: three\n\nhello\n", sender=f"box@{ME}")
    until(lambda: waiting(cluster) == [(None, 1)], "one recipient failed, one waits")
    (tmp_path / "open").touch()
    due_now(cluster)
    until(lambda: waiting(cluster) == [], "an empty queue")
    until(lambda: any("not today" in text for text in messages(ann.home / "alias/Maildir")), "the bounce")


def test_attempts_and_replies_are_known_to_every_node(node: Node, cluster: Cluster) -> None:
    ann = node("ann")
    ann.send([f"box@{ME}", f"busy@{ME}", f"later@{ME}"], "Subject: four\n\nhello\n")
    until(lambda: waiting(cluster) == [(None, 1)], "two recipients wait")
    due_now(cluster)
    until(lambda: waiting(cluster) == [(None, 2)], "a second attempt")
    ((number,),) = cluster.execute("select id from message")
    ann.stop()
    bob = node("bob")
    shown = eqmail("--home", bob.home, "queue", "show", str(number)).stdout
    assert re.search(r"busy@\S+ \(local, next attempt in .*\n *2 attempts, last \S+ ago: come back tomorrow", shown), (
        shown
    )
    assert "box@mail.example.org (local, done)" in shown and "Subject: four" in shown
    listed = eqmail("--home", bob.home, "queue", "list").stdout
    assert re.search(r"busy@\S+ +come back tomorrow", listed), listed
    raw = eqmail("--home", bob.home, "queue", "show", str(number), "--raw").stdout
    assert raw.startswith("Received: ") and raw.endswith("hello\n")


def test_the_sender_is_warned_of_a_delay_once(node: Node, cluster: Cluster) -> None:
    ann = node("ann", delaywarning="1")

    def warnings() -> list[str]:
        found = messages(ann.home / "alias/Maildir")
        return [text for text in found if "not delivered yet" in text and f"<busy@{ME}>" in text]

    ann.send([f"busy@{ME}"], "Subject: five\n\nhello\n", sender=f"box@{ME}")
    until(lambda: waiting(cluster) == [(None, 1)], "the message waits")
    cluster.execute("update message set birth = birth - 100")
    for attempt in (2, 3):
        due_now(cluster)
        until(lambda: waiting(cluster) == [(None, attempt)], f"attempt {attempt}")  # noqa: B023
        until(warnings, "the warning")
    assert len(warnings()) == 1 and "Subject: five" in warnings()[0]
    assert cluster.execute("select warned from message") == [(True,)]


def test_a_bounce_that_fails_goes_to_the_postmaster_and_no_further(node: Node, cluster: Cluster) -> None:
    ann = node("ann")
    ann.send([f"reject@{ME}"], "Subject: six\n\nhello\n", sender=f"reject@{ME}")
    until(lambda: any("bounce bounced" in it for it in messages(ann.home / "alias/Maildir")), "the double bounce")
    until(lambda: waiting(cluster) == [], "an empty queue")
    (ann.home / "alias/.qmail-postmaster").write_text("|exit 100\n")
    ann.send([f"reject@{ME}"], "Subject: seven\n\nhello\n", sender=f"reject@{ME}")
    until(lambda: "triple bounce: discarding" in ann.log(), "the end of it")
    until(lambda: waiting(cluster) == [], "an empty queue")


def test_a_killed_node_loses_nothing(node: Node, cluster: Cluster, tmp_path: Path) -> None:
    ann, bob = node("ann"), node("bob")
    for number in range(5):
        ann.send([f"later@{ME}"], f"Subject: n{number}\n\nhello\n")
    ann.kill()
    (tmp_path / "open").touch()
    cluster.execute("update node set lease_until = now() where name = 'ann'")
    until(lambda: [due_now(cluster)] and waiting(cluster) == [], "an empty queue")
    assert set(subjects(ann)) | set(subjects(bob)) == {"first", *(f"n{number}" for number in range(5))}


class SlowServer(ScriptedServer):
    """Waits with the permission to send a message until `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def _say(self, client: socket.socket, reply: str) -> bool:
        if reply[:3] == "354":
            self.go.wait()
        return super()._say(client, reply)


def test_a_node_that_was_stopped_for_longer_than_its_lease_sends_nothing(node: Node, cluster: Cluster) -> None:
    with SlowServer() as slow, ScriptedServer() as quick:
        ann, stopped = node("ann", slow.port), []
        try:
            ann.inject(["r@there.example"], "Subject: once\n\nhello\n")
            slow.wait_until_received(b"DATA\r\n")
            assert ann.process is not None
            stopped = [ann.process.pid, *ann.services()]
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            lease = LeaseFile(str(ann.home / "queue/lock/lease"))
            ((epoch,),) = cluster.execute("select epoch from node where name = 'ann'")
            assert isinstance(epoch, int)
            until(lambda: not lease.lasts(epoch), "the end of the lease")
            node("bob", quick.port)
            until(lambda: waiting(cluster) == [], "the delivery by the other node")
        finally:
            slow.go.set()
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        until(lambda: "took over the messages" in ann.log(), "the stopped node knows")
        until(lambda: accepts(ann), "the stopped node works again")
        assert (slow.messages, quick.messages) == (0, 1)
        assert b"Subject: once" not in slow.received[0]


def test_a_database_that_goes_away_refuses_mail_for_now_and_loses_none(node: Node, cluster: Cluster) -> None:
    ann = node("ann")
    cluster.stop("immediate")
    assert not accepts(ann)
    cluster.start()
    until(lambda: accepts(ann), "mail is taken again")
    until(lambda: waiting(cluster) == [], "an empty queue")
    assert set(subjects(ann)) == {"first"} and os.path.exists(ann.home)


def test_mail_over_a_limit_is_held_in_the_shared_queue_and_released_by_login(node: Node) -> None:
    mail_system = node("one")
    (mail_system.home / "control/smtpcheckpw").write_text("/bin/true\n")
    (mail_system.home / "control/submissionlimits").write_text("login * messages=1/d\n")
    mail_system.stop()
    mail_system.start()
    until(lambda: accepts(mail_system), "the node has the database")

    def held() -> str:
        done = eqmail("--home", mail_system.home, "queue", "list", "--where", "state=held login=joe")
        assert done.returncode == 0, done.stderr
        return done.stdout

    for subject in ("over-1", "over-2"):
        with smtplib.SMTP("127.0.0.1", mail_system.port, "client.example.net", timeout=60) as client:
            client.login("joe", "secret")
            client.sendmail("joe@example.net", [f"box@{ME}"], f"Subject: {subject}\r\n\r\n")
    until(lambda: "login joe is over messages=1/d" in held(), "the held message")
    assert "over-2" not in subjects(mail_system)
    released = eqmail("--home", mail_system.home, "queue", "release", "--where", "login=joe")
    assert released.returncode == 0, released.stderr
    until(lambda: "over-2" in subjects(mail_system), "the released message")
