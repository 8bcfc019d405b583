"""`eqmail quickstart` on machines that know no mail: from nothing to a message in a Maildir, under each init system."""

import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.isolated_root import IsolatedRoot
from tests.support.service_managers import demand

EQMAIL = f"{sys.executable} -m eqmail_setup"
QUICKSTART = f"{EQMAIL} quickstart mail.example.org"


class StartMethod(NamedTuple):
    """The first process, the options of the command, and how the services are stopped."""

    needs: tuple[str, ...]
    first: str
    stop: str
    words: str = ""


# The first process of a machine with SysV scripts is called init, and buries the dead.
INIT = "cp /bin/sh /run/init; exec /run/init -c 'while :; do sleep 1; done'"
OPENRC = """cd /run; mkdir -p openrc; cd openrc
mkdir daemons exclusive failed hotplugged inactive options scheduled started starting stopping tmp wasinactive
printf '#!/sbin/openrc-run\\n' >/etc/init.d/localmount; chmod 755 /etc/init.d/localmount
echo default >softlevel; while :; do sleep 1; done"""
START_METHODS = {
    "runit": StartMethod(("runsvdir",), "exec runsvdir /etc/service", "sv -w 30 stop qmail-send"),
    "daemontools": StartMethod(
        ("svscan",),
        "exec svscan /etc/service",
        "cd /etc/service; svc -d qmail-send; while svstat qmail-send | grep -q 'up (pid'; do sleep 0.1; done",
    ),
    "s6": StartMethod(
        ("s6-svscan",), "mkdir /run/service; exec s6-svscan /run/service", "s6-svc -wd -d /run/service/qmail-send"
    ),
    "sysv": StartMethod(("start-stop-daemon", "service"), INIT, "service qmail stop"),
    "openrc": StartMethod(("rc-service", "openrc-run"), OPENRC, "rc-service qmail stop"),
    "xinetd": StartMethod(
        ("xinetd", "start-stop-daemon"), INIT, "service xinetd stop; service qmail stop", "--service xinetd"
    ),
}


@pytest.fixture
def discover() -> Iterator[Callable[[str], IsolatedRoot]]:
    """Makes islands, and sinks them at the end."""
    found: list[IsolatedRoot] = []

    def make(first: str) -> IsolatedRoot:
        demand("unshare", "nsenter", "swaks")
        found.append(IsolatedRoot(Path(tempfile.mkdtemp(prefix="eqmail-island-")), first))
        return found[-1]

    yield make
    for isolated_root in found:
        isolated_root.sink()


@pytest.mark.parametrize("name", START_METHODS)
def test_a_machine_without_mail_becomes_a_mail_server(name: str, discover: Callable[[str], IsolatedRoot]) -> None:
    method = START_METHODS[name]
    demand(*method.needs)
    isolated_root = discover(method.first)
    output = isolated_root.run(f"{QUICKSTART} {method.words}")
    delivered = re.search(r"^test message +delivered: (/var/qmail/alias/Maildir/new/\S+)$", output, re.M)
    assert delivered, output
    assert "This is the test message" in isolated_root.run(f"cat {delivered[1]}")
    assert "mail.example.org. IN MX 10 mail.example.org.\n" in output
    assert isolated_root.run(f"{QUICKSTART} {method.words}") == "No changes needed.\n"
    assert isolated_root.run("eqmail check") == "/var/qmail: no problems found\n"
    # Authenticated clients may relay under TLS; others may not, and no password is sent in clear text.
    isolated_root.run("printf 'secret\\n' >/run/secret; eqmail user passwd joe --stdin </run/secret")
    swaks = "swaks --from joe@mail.example.org --to ann@elsewhere.example --quit-after RCPT"
    login = "-a PLAIN -au joe -ap secret"
    isolated_root.run(f"{swaks} --server 127.0.0.1:587 -tls {login}")
    isolated_root.run(f"{swaks} --server 127.0.0.1:465 -tlsc {login}")
    output = isolated_root.run(f"{swaks} --server 127.0.0.1:587 {login}", code=28)
    assert "did not advertise authentication" in output and "AUTH PLAIN" not in output
    own = "swaks --from joe@mail.example.org --to postmaster@mail.example.org --quit-after RCPT"
    for server in ("127.0.0.1:587 -tls", "127.0.0.1:465 -tlsc"):
        assert "530 5.7.1" in isolated_root.run(f"{own} --server {server}", code=23)
    isolated_root.run(f"{own} --server 127.0.0.1:25")
    isolated_root.run("ip addr add 198.51.100.1/32 dev lo")
    assert "553" in isolated_root.run(f"{swaks} --server 198.51.100.1:25 --local-interface 198.51.100.1", code=24)
    doctor = "eqmail doctor --offline"
    assert isolated_root.run(doctor) == "/var/qmail: no problems found\n"
    assert "and its services run; stop them" in isolated_root.run("eqmail rollback 1", code=3)
    isolated_root.run(method.stop)


def test_a_quickstart_can_be_rolled_back(discover: Callable[[str], IsolatedRoot]) -> None:
    demand("runsvdir", "sv")
    isolated_root = discover("exec runsvdir /etc/service")
    isolated_root.run("useradd -m joe")
    first = json.loads(isolated_root.run(f"{QUICKSTART} --to joe --json 2>/run/said"))
    assert first["delivered"].startswith("/home/joe/Maildir/new/")
    assert first["run"] == 1
    assert isolated_root.run("stat -c '%U %a' /home/joe/Maildir") == "joe 700\n"
    isolated_root.run("sv -w 30 stop qmail-send")
    isolated_root.run("eqmail rollback 1 --force --yes")
    assert isolated_root.run("ls /etc/service") == ""
    isolated_root.run("test ! -e /var/qmail/bin")
    assert isolated_root.run("ls /home/joe/Maildir/new") != ""


def test_people_of_a_domain_read_their_mail_with_dovecot(discover: Callable[[str], IsolatedRoot]) -> None:
    demand("runsvdir", "sv", "dovecot", "curl")
    isolated_root = discover("exec runsvdir /etc/service")
    isolated_root.run("mkdir -p /var/lib/dovecot; rm -f /etc/dovecot/dovecot.conf")
    words = f"{QUICKSTART} --domain example.org --imap dovecot"
    output = isolated_root.run(words)
    assert "\nreading mail  dovecot\n" in output
    assert "\nexample.org. IN MX 10 mail.example.org.\n" in output
    assert isolated_root.run(words) == "No changes needed.\n"
    isolated_root.run("printf 'a secret\n' >/run/secret; eqmail mailbox add ann@example.org --stdin </run/secret")
    # Programs of this host send mail by it.
    assert isolated_root.run("readlink /usr/sbin/sendmail") == "/var/qmail/bin/sendmail\n"
    isolated_root.run("printf 'Subject: x\n\ntext\n' | sendmail ann@example.org")
    isolated_root.run("cd /var/qmail/users/example.org/ann/Maildir/new; until ls | grep -q .; do sleep 0.1; done")
    status = "curl -sk --retry 20 --retry-connrefused --url imaps://127.0.0.1/INBOX -u 'ann@example.org:a secret'"
    assert "MESSAGES 1" in isolated_root.run(f"{status} -X 'STATUS INBOX (MESSAGES)'")
    assert isolated_root.run("eqmail check") == "/var/qmail: no problems found\n"
    isolated_root.run("doveadm stop; sv -w 30 stop qmail-send")


@pytest.mark.parametrize("name", ["runit", "daemontools", "s6", "sysv"])
def test_a_rolled_back_quickstart_can_be_repeated(name: str, discover: Callable[[str], IsolatedRoot]) -> None:
    """The supervisor of the first time is still there then, and remembers that the service was stopped."""
    method = START_METHODS[name]
    demand(*method.needs)
    isolated_root = discover(method.first)
    isolated_root.run(QUICKSTART)
    isolated_root.run(method.stop)
    assert "delivered: " in isolated_root.run(QUICKSTART)
    isolated_root.run(method.stop)
    isolated_root.run("eqmail rollback 1 --force --yes")
    assert "delivered: " in isolated_root.run(QUICKSTART)
    isolated_root.run(method.stop)


def test_obstacles_are_named_before_anything_changes(discover: Callable[[str], IsolatedRoot]) -> None:
    isolated_root = discover("exec runsvdir /etc/service")
    isolated_root.run("tcpserver 0 25 true >/dev/null 2>&1 & sleep 1")
    output = isolated_root.run(QUICKSTART, code=3)
    assert re.search(r"port 25 for smtp is taken by tcpserver \(process \d+\); stop that", output)
    for words, reason in (
        ("--service openrc --to nobody-here", "there is no such account"),
        ("--set scanned=/etc/elsewhere", "/etc/elsewhere: missing"),
        ("--set scanned=/etc/sv", "no runsvdir watches /etc/sv"),
        ("--set smtp.prt=25", "unknown for runit"),
    ):
        isolated_root.run(f"{QUICKSTART} {words} >/run/said 2>&1 || true")
        (line,) = isolated_root.run("cat /run/said").splitlines()
        assert reason in line
    assert "alias" not in isolated_root.run("cut -d: -f1 /etc/passwd").split()
    assert isolated_root.run("ls /var") == "log\n"
