"""A running installation with limits of submitters: mail over them is held, shown, released and dropped."""

import json
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
    (control / "smtpcheckpw").write_text("/bin/true\n")
    (control / "smtpworkers").write_text("2\n")
    (control / "submissionlimits").write_text("login * messages=2/d recipients=6/d\n")
    make_maildir(alias / "Maildir")
    (alias / ".qmail-box").write_text("./Maildir/\n")
    (alias / ".qmail-postmaster").write_text("./Maildir/\n")
    running = MailSystem(private_home)
    yield running
    if running.process is not None and running.process.poll() is None:
        running.stop()


def send(mail_system: MailSystem, login: str, *subjects: str) -> None:
    for subject in subjects:
        with smtplib.SMTP("127.0.0.1", mail_system.port, "client.example.net", timeout=60) as client:
            client.login(login, "secret")
            client.sendmail("joe@example.net", [f"box@{ME}"], f"Subject: {subject}\r\n\r\nbody\r\n")


def subjects(mail_system: MailSystem) -> list[str]:
    texts = messages(mail_system.home / "alias/Maildir")
    return sorted(line[9:] for text in texts for line in text.splitlines() if line.startswith("Subject: "))


def listed(mail_system: MailSystem, *words: str) -> list[dict[str, object]]:
    done = eqmail("--home", mail_system.home, "queue", "list", "--json", *words)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["messages"]
    assert isinstance(found, list)
    return found


def queue(mail_system: MailSystem, *words: str) -> str:
    done = eqmail("--home", mail_system.home, "queue", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_held_mail_is_explained_and_released_by_login(mail_system: MailSystem) -> None:
    send(mail_system, "joe@example.net", "one", "two", "three", "four")
    send(mail_system, "ann@example.net", "five")
    notice = "limit reached: login joe@example.net"
    until(lambda: subjects(mail_system) == ["five", notice, "one", "two"], "what is within the limits")
    until(lambda: [it["state"] for it in listed(mail_system)] == ["held", "held"], "two held messages")
    [first, _] = listed(mail_system, "--where", "login=joe@example.net")
    assert first["submitter"] == {"login": "joe@example.net", "client": "127.0.0.1"}
    assert first["held_because"] == "login joe@example.net is over messages=2/d"
    assert "login joe@example.net is over messages=2/d" in queue(mail_system, "list")
    shown = queue(mail_system, "show", str(first["number"]))
    assert "login joe@example.net, client 127.0.0.1" in shown and "control/submissionlimits" in shown
    mail_system.stop()
    mail_system.start()
    assert [it["state"] for it in listed(mail_system)] == ["held", "held"], "held over a restart"
    queue(mail_system, "release", "--where", "login=joe@example.net")
    until(lambda: len(subjects(mail_system)) == 6, "the released messages")
    until(lambda: listed(mail_system) == [], "an empty queue")
    send(mail_system, "joe@example.net", "six")
    until(lambda: [it["state"] for it in listed(mail_system)] == ["held"], "the use of the limit was kept")


def test_held_mail_is_dropped_by_login(mail_system: MailSystem) -> None:
    send(mail_system, "joe@example.net", "one", "two", "three", "four")
    until(lambda: [it["state"] for it in listed(mail_system)] == ["held", "held"], "two held messages")
    queue(mail_system, "delete", "--yes", "--where", "login=JOE@example.net")
    assert listed(mail_system) == []


def test_a_limit_is_changed_while_the_services_run(mail_system: MailSystem) -> None:
    setting = mail_system.home / "control/submissionlimits"
    setting.write_text("login * messages=1/d refuse\n")

    def is_refused() -> bool:
        try:
            send(mail_system, "eve@example.net", "again")
        except smtplib.SMTPDataError as error:
            assert error.smtp_code == 451 and b"4.7.1" in error.smtp_error
            return True
        return False

    until(is_refused, "a refusal")
    assert "mail over it is refused" in mail_system.log()


def test_mail_of_clients_that_may_not_relay_has_no_limit(mail_system: MailSystem) -> None:
    (mail_system.home / "control/submissionlimits").write_text("address * messages=1/d\n")
    for number in range(5):
        mail_system.send([f"box@{ME}"], f"Subject: {number}\n\nbody\n")
    until(lambda: subjects(mail_system) == [str(number) for number in range(5)], "all of it")


def test_a_program_in_place_of_qmail_queue_passes_the_login_on(mail_system: MailSystem) -> None:
    mail_system.stop()
    script = mail_system.home / "scanner"
    script.write_text(f"#!/bin/sh\nexec {mail_system.home}/bin/qmail-queue\n")
    script.chmod(0o755)
    mail_system.environ["QMAILQUEUE"] = str(script)
    mail_system.start()
    send(mail_system, "joe@example.net", "one", "two", "three")
    until(lambda: [it["state"] for it in listed(mail_system)] == ["held"], "a held message")


def test_the_toolkit_shows_use_limits_and_who_is_over_them(mail_system: MailSystem) -> None:
    send(mail_system, "joe@example.net", "one", "two", "three")
    mail_system.stop()
    done = eqmail("--home", mail_system.home, "limits", "--json")
    [messages, recipients] = json.loads(done.stdout)["limits"]
    assert (messages["name"], messages["limit"], messages["used"]) == ("joe@example.net", "messages=2/d", 2)
    assert (recipients["limit"], recipients["used"], recipients["over"]) == ("recipients=6/d", 2, 1)
    assert "2 of 2" in eqmail("--home", mail_system.home, "limits").stdout
    found = eqmail("--home", mail_system.home, "doctor", "--only", "limits").stdout
    assert "login joe@example.net sends more than its limits allow" in found
    assert "queue list --where login=joe@example.net" in found
    explained = eqmail("--home", mail_system.home, "explain", "ann@example.com", "--login", "joe@example.net").stdout
    assert "login joe@example.net: messages=2/d recipients=6/d, held beyond it" in explained
