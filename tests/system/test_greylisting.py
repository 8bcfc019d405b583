"""A running installation that greylists: senders come back, those who log in are not asked to, and trouble passes."""

import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import eqmail
from tests.support.mail_system import MailSystem, make_maildir, messages, until

pytestmark = pytest.mark.slow
ME = "mail.example.org"


@pytest.fixture
def mail_system(private_home: Path) -> Iterator[MailSystem]:
    control, alias = private_home / "control", private_home / "alias"
    (control / "greylistdelay").write_text("1\n")
    (control / "smtpcheckpw").write_text("/bin/true\n")
    (control / "smtpworkers").write_text("2\n")
    make_maildir(alias / "Maildir")
    (alias / ".qmail-box").write_text("./Maildir/\n")
    running = MailSystem(private_home)
    yield running
    if running.process is not None and running.process.poll() is None:
        running.stop()


def attempt(mail_system: MailSystem, sender: str, login: str = "") -> int:
    """The code of the reply to RCPT; an accepted message is sent.  The sender's domain needs no question to the DNS."""
    with smtplib.SMTP("127.0.0.1", mail_system.port, "[127.0.0.1]", timeout=60) as client:
        if login:
            client.login(login, "secret")
        try:
            client.sendmail(sender, [f"box@{ME}"], "Subject: x\r\n\r\n")
        except smtplib.SMTPRecipientsRefused as refused:
            code, text = next(iter(refused.recipients.values()))
            assert b"4.7.1" in text
            return code
    return 250


def test_a_sender_comes_back_and_a_login_is_not_asked_to(mail_system: MailSystem) -> None:
    assert attempt(mail_system, "") == 451
    assert attempt(mail_system, "joe@example.net", login="joe") == 250
    listed = eqmail("--home", mail_system.home, "greylist", "list").stdout
    assert "127.0.0.0/24" in listed and "waits" in listed
    until(lambda: attempt(mail_system, "") == 250, "an accepted attempt")
    assert "passed" in eqmail("--home", mail_system.home, "greylist", "list").stdout
    forgotten = eqmail("--home", mail_system.home, "greylist", "forget", "127.0.0.0/24")
    assert forgotten.returncode == 0 and ": 2 entries forgotten" in forgotten.stdout
    assert eqmail("--home", mail_system.home, "greylist", "forget", "127.0.0.0/24").returncode == 3
    assert attempt(mail_system, "") == 451
    until(lambda: len(messages(mail_system.home / "alias/Maildir")) == 2, "two messages")


def test_with_a_damaged_database_senders_are_accepted(mail_system: MailSystem) -> None:
    (mail_system.home / "greylist/senders.db").write_bytes(b"rubbish" * 1000)
    assert attempt(mail_system, "") == 250
    until(lambda: "senders are accepted meanwhile" in mail_system.log(), "a line in the log")
    shown = eqmail("--home", mail_system.home, "greylist", "list")
    assert shown.returncode == 3 and "damaged" in shown.stderr
