"""Mail flows through a private installation: every kind of delivery, and bounces, with real processes and sockets."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mail_system import MailSystem, make_maildir, messages, until

pytestmark = pytest.mark.slow
ME = "mail.example.org"


@pytest.fixture
def mail_system(private_home: Path) -> Iterator[MailSystem]:
    alias = private_home / "alias"
    make_maildir(alias / "Maildir")
    (alias / ".qmail-box").write_text("./Maildir/\n")
    (alias / ".qmail-mbox").write_text("./Mailbox\n")
    (alias / ".qmail-program-default").write_text(f'|cat >{alias}/seen; echo "$EXT $DEFAULT" >{alias}/vars\n')
    (alias / ".qmail-forward").write_text(f"&box@{ME}\n")
    (alias / ".qmail-reject").write_text("|echo not today; exit 100\n")
    (alias / ".qmail-later").write_text("|echo come back; exit 111\n")
    (alias / ".qmail-postmaster").write_text("./Maildir/\n")
    running = MailSystem(private_home)
    yield running
    if running.process and running.process.poll() is None:
        running.stop()


def alias_mail(mail_system: MailSystem) -> list[str]:
    return messages(mail_system.home / "alias/Maildir")


def test_smtp_to_maildir(mail_system: MailSystem) -> None:
    mail_system.send([f"box@{ME}"], "Subject: one\n\nhello\n.dot\n")
    until(lambda: alias_mail(mail_system), "the message in the Maildir")
    (text,) = alias_mail(mail_system)
    lines = text.splitlines()
    assert lines[0] == "Return-Path: <sender@example.net>"
    assert lines[1] == f"Delivered-To: box@{ME}"
    assert lines[2].startswith("Received: (qmail ") and " invoked " in lines[2]
    assert lines[3].startswith("Received: from ") and text.endswith("Subject: one\n\nhello\n.dot\n")
    until(lambda: "end msg" in mail_system.log(), "the end in the log")
    log = mail_system.log()
    for words in (
        "new msg ",
        "info msg ",
        "starting delivery 1: ",
        "delivery 1: success: did_1+0+0/",
        "status: local 0/10",
    ):
        assert words in log
    assert not list((mail_system.home / "queue/mess").rglob("[0-9]*/[0-9]*"))


def test_mbox_program_and_forward(mail_system: MailSystem) -> None:
    mail_system.send([f"mbox@{ME}", f"program-a-b@{ME}", f"forward@{ME}"], "Subject: three\n\nFrom here\n")
    alias = mail_system.home / "alias"
    until(lambda: (alias / "Mailbox").exists() and ">From here" in (alias / "Mailbox").read_text(), "the mbox")
    until(lambda: (alias / "vars").exists() and (alias / "vars").read_text() == "program-a-b a-b\n", "the program")
    until(lambda: alias_mail(mail_system), "the forwarded copy")
    assert f"Delivered-To: forward@{ME}" in alias_mail(mail_system)[0]


def test_inject_completes_the_header(mail_system: MailSystem) -> None:
    run = mail_system.inject(["-f", "joe@example.net"], f"To: box@{ME}\nSubject: injected\n\nbody\n")
    assert run.returncode == 0, run.stderr
    until(lambda: alias_mail(mail_system), "the message")
    assert "Message-ID: <" in alias_mail(mail_system)[0] and "\nDate: " in alias_mail(mail_system)[0]


def test_unknown_user_bounces(mail_system: MailSystem) -> None:
    mail_system.send([f"nobody-here@{ME}"], "Subject: lost\n\nbody\n", sender=f"box@{ME}")
    until(lambda: alias_mail(mail_system), "the bounce")
    (text,) = alias_mail(mail_system)
    assert f"<nobody-here@{ME}>:\nSorry, no mailbox here by that name. (#5.1.1)\n" in text
    assert "Hi. This is the qmail-send program at mail.example.org." in text
    assert "Return-Path: <>" in text and "Subject: lost" in text


def test_double_bounce_goes_to_the_postmaster(mail_system: MailSystem) -> None:
    mail_system.send([f"nobody-here@{ME}"], "Subject: lost\n\nbody\n", sender=f"nobody-there@{ME}")
    until(lambda: alias_mail(mail_system), "the double bounce")
    assert "--- Below this line is the original bounce." in alias_mail(mail_system)[0]


def test_a_deferred_message_becomes_qmail_files_and_survives_a_restart(mail_system: MailSystem) -> None:
    mail_system.send([f"later@{ME}", f"box@{ME}"], "Subject: wait\n\nbody\n")
    queue = mail_system.home / "queue"
    until(lambda: [path for path in queue.glob("info/*/*") if path.name.isdigit()], "the spilled message")
    until(lambda: alias_mail(mail_system), "the other recipient")
    (info,) = queue.glob("info/*/*")
    number = int(info.name)
    mess = queue / f"mess/{number % 23}/{number}"
    local = queue / f"local/{number % 23}/{number}"
    assert mess.stat().st_ino == number
    until(lambda: b"D" + f"box@{ME}".encode() in local.read_bytes(), "the mark of the finished recipient")
    assert info.read_bytes() == b"Fsender@example.net\0"
    mail_system.stop()
    assert local.read_bytes().count(b"Tlater@") == 1
    assert not list((queue / "pid").iterdir())
    (mail_system.home / "alias/.qmail-later").write_text("./Maildir/\n")
    local.touch()  # due now
    mail_system.start()
    until(lambda: len(alias_mail(mail_system)) == 2, "the second attempt")
    until(lambda: not info.exists() and not mess.exists(), "an empty queue")


def test_refused_domains_and_long_lines(mail_system: MailSystem) -> None:
    import smtplib

    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        mail_system.send(["who@elsewhere.example"], "Subject: x\n\n")
    assert (
        b"sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)" in str(refused.value.recipients).encode()
    )


def test_a_large_message_passes(mail_system: MailSystem) -> None:
    line = "x" * 76 + "\n"
    text = "Subject: large\n\n" + line * 30000
    mail_system.send([f"box@{ME}"], text)
    until(lambda: alias_mail(mail_system), "the large message")
    assert alias_mail(mail_system)[0].endswith(text)


def test_while_the_parent_is_stopped_mail_is_accepted_and_waits(mail_system: MailSystem) -> None:
    """As `svc -p` and `svc -c` have it for qmail-send."""
    assert mail_system.process is not None
    mail_system.send([f"box@{ME}"], "Subject: before\n\n")
    until(lambda: alias_mail(mail_system), "the first message")
    mail_system.process.send_signal(signal.SIGSTOP)
    time.sleep(1.1)
    for subject in "ab":
        mail_system.send([f"box@{ME}"], f"Subject: {subject}\n\n")
    until(lambda: mail_system.log().count("new msg") == 3, "the new messages")
    until(lambda: "qmail-start is stopped, so no delivery starts" in mail_system.log(), "the reason in the log")
    time.sleep(1.5)
    assert mail_system.log().count("starting delivery") == len(alias_mail(mail_system)) == 1
    mail_system.process.send_signal(signal.SIGCONT)
    until(lambda: len(alias_mail(mail_system)) == 3, "the messages that waited")
    assert "qmail-start goes on" in mail_system.log()


def test_the_services_end_with_their_parent_and_another_may_come(mail_system: MailSystem) -> None:
    assert mail_system.process is not None
    below = mail_system.services()
    mail_system.process.kill()
    mail_system.process.wait()
    until(lambda: not [pid for pid in below if Path(f"/proc/{pid}").exists()], "the end of the services")
    mail_system.start()
    mail_system.send([f"box@{ME}"], "Subject: again\n\n")
    until(lambda: alias_mail(mail_system), "a message after the new start")


def test_what_a_logger_writes_goes_where_the_log_would_have_gone(private_home: Path) -> None:
    """Not back to itself; and one that is started again writes there, too."""
    make_maildir(private_home / "alias/Maildir")
    (private_home / "alias/.qmail-box").write_text("./Maildir/\n")
    mail_system = MailSystem(private_home, "./Maildir/", "sh", "-c", "echo complaint >&2; exec sed -u s/^/logged:/")

    def await_log(text: str, count: int) -> None:
        until(lambda: mail_system.log().count(text) == count, f"{text} {count} times in the log")

    try:
        for count in (1, 2):
            mail_system.send([f"box@{ME}"], "Subject: x\n\n")
            await_log("logged:end msg", count)
            (logger,) = [pid for pid, name in mail_system.services().items() if name == "sed"]
            os.kill(logger, signal.SIGKILL)
            await_log("complaint", count + 1)
        assert "logged:logged:" not in mail_system.log()
    finally:
        mail_system.stop()
