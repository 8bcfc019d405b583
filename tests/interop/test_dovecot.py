"""Dovecot: mail that goes in by LMTP and mail that our own delivery put into a Maildir come out by IMAP."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dovecot import Dovecot
from tests.support.mail_system import TIMEOUT_S, MailSystem, make_maildir, until

pytestmark = pytest.mark.root
ME = "mail.example.org"
UID = 64055
"""Owner of the mailboxes; it need not have an account."""
QUOTA = "mail_plugins = quota\nplugin {\n quota = maildir:User\n quota_rule = *:storage=20K\n}\n"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # short, because the path of a socket has 107 bytes
    path = Path(tempfile.mkdtemp(prefix="dc", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def dovecot(folder: Path, real_home: Path) -> Iterator[Dovecot]:
    running = Dovecot(folder / "d", folder / "store", UID, QUOTA)
    yield running
    running.stop()


class BoxMailSystem(MailSystem):
    """A mail system in which the addresses box and box-EXT belong to a virtual user with the home `box`."""

    def __init__(self, home: Path, delivery: str, box: Path) -> None:
        self.box = box
        box.mkdir(mode=0o755)
        assign = home / "users/assign"
        assign.write_text(f"=box:box:{UID}:{UID}:{box}:::\n+box-:box:{UID}:{UID}:{box}:-::\n.\n")
        subprocess.run([home / "bin/qmail-newu"], env={"EQMAIL_HOME": str(home)}, check=True)
        super().__init__(home, delivery)

    def arrange(self, ext: str, text: str) -> str:
        """Give an address of box's these instructions; the whole address."""
        (self.box / f".qmail-{ext}").write_text(text)
        return f"box-{ext}@{ME}"

    def stop(self, timeout_s: float = TIMEOUT_S) -> None:
        super().stop(timeout_s)
        for name in ("assign", "cdb"):
            (self.home / "users" / name).unlink()


@pytest.fixture(scope="module")
def mail_system(real_home: Path, dovecot: Dovecot, folder: Path) -> Iterator[BoxMailSystem]:
    running = BoxMailSystem(real_home, f"|qmail-lmtp unix:{dovecot.socket}", folder / "box")
    yield running
    running.stop()


def arrived(mail_system: BoxMailSystem, dovecot: Dovecot, user: str) -> list[str]:
    """The messages of a user, when there are any."""
    try:
        until(lambda: dovecot.messages(user), "the message")
    except AssertionError:
        raise AssertionError(mail_system.log()[-2000:] + dovecot.log()[-2000:]) from None
    return dovecot.messages(user)


@pytest.mark.parametrize("program", ["qmail-lmtp", "/bin/qmail-lmtp", "exec qmail-lmtp", "preline -fD qmail-lmtp -rd"])
def test_lmtp_and_imap(mail_system: BoxMailSystem, dovecot: Dovecot, program: str) -> None:
    """In the agent itself, by its name and by its path, and as a program below the shell: the mail is the same."""
    user = re.sub(r"\W", "", program).lower()
    words = program.replace("/bin/qmail", f"{mail_system.home}/bin/qmail")
    address = mail_system.arrange(user, f'|{words} unix:{dovecot.socket} "$EXT@$HOST"\n')
    mail_system.send([address], "Subject: by lmtp\n\n.dots\nFrom here\n")
    (text,) = arrived(mail_system, dovecot, user)
    assert text.endswith("Subject: by lmtp\n\n.dots\nFrom here\n")
    head = text.partition("\n\n")[0]
    assert head.count(f"Delivered-To: {address}\n") >= 1
    assert "Return-Path: <sender@example.net>\n" in head
    until(lambda: "did_0+0+1" in mail_system.log(), "the report")


def test_the_default_delivery_may_be_lmtp(mail_system: BoxMailSystem, dovecot: Dovecot) -> None:
    mail_system.send([f"box@{ME}"], "Subject: default\n\n")
    assert arrived(mail_system, dovecot, "box")


def test_a_full_mailbox_bounces_with_the_reason(mail_system: BoxMailSystem, dovecot: Dovecot) -> None:
    address = mail_system.arrange("full", f"|qmail-lmtp unix:{dovecot.socket} full\n")
    mail_system.send([address], "Subject: large\n\n" + "x" * 70 + "\n" * 40000, sender=f"box-bounced@{ME}")
    until(
        lambda: "552" in mail_system.log() or "Quota" in mail_system.log(), "the refusal; " + mail_system.log()[-800:]
    )
    assert re.search(r"delivery \d+: failure: \S*5\.2\.2\S*[Qq]uota", mail_system.log())
    assert dovecot.messages("full") == []


def test_a_socket_that_is_away_or_forbidden_leaves_the_mail_waiting(mail_system: BoxMailSystem, folder: Path) -> None:
    address = mail_system.arrange("away", f"|qmail-lmtp unix:{folder}/nobody-here\n")
    mail_system.send([address], "Subject: away\n\n")
    until(lambda: "deferral: Unable_to_connect_to_" in mail_system.log(), "a deferral; " + mail_system.log()[-800:])
    assert "nobody-here:_file_does_not_exist._(#4.4.1)" in mail_system.log()


def test_imap_reads_what_our_own_delivery_filed(mail_system: BoxMailSystem, dovecot: Dovecot) -> None:
    maildir = make_maildir(dovecot.store / "direct/Maildir")
    for path in (maildir.parent, maildir, *maildir.iterdir()):
        os.chown(path, UID, UID)
    address = mail_system.arrange("direct", f"{maildir}/\n")
    for number in range(5):
        mail_system.send([address], f"Subject: number {number}\n\nbody\n")
    until(lambda: len(list((maildir / "new").iterdir())) + len(list((maildir / "cur").iterdir())) == 5, "five messages")
    found = dovecot.messages("direct")
    assert sorted(re.findall(r"^Subject: (.*)$", "".join(found), re.M)) == [f"number {number}" for number in range(5)]
    assert all(text.startswith("Return-Path: <sender@example.net>\nDelivered-To: box-direct@") for text in found)


def test_the_documented_delivery_by_hand_works(mail_system: BoxMailSystem, dovecot: Dovecot) -> None:
    """The program without a mail system: usable from other people's scripts."""
    environ = {"EQMAIL_HOME": str(mail_system.home), "SENDER": "me@example.net", "PATH": "/usr/bin:/bin"}
    command = [f"{mail_system.home}/bin/qmail-lmtp", f"unix:{dovecot.socket}", "byhand"]
    run = subprocess.run(command, input=b"Subject: x\n\nno end", env=environ, capture_output=True, check=False)
    assert run.returncode == 0 and b"accepted message" in run.stdout, run
    assert dovecot.messages("byhand")[0].endswith("\n\nno end\n")
