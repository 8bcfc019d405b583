"""`eqmail queue` and qmail-qread, with the services and without them."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import eqmail
from tests.support.mail_system import MailSystem, until

MESSAGE = "Subject: x\n\nbody\n"


@pytest.fixture
def mail_system(private_home: Path) -> Iterator[MailSystem]:
    """Mail to other hosts is deferred at once: the port is closed."""
    (private_home / "control/smtproutes").write_text(":127.0.0.1:1\n")
    it = MailSystem(private_home)
    yield it
    if it.process is not None and it.process.poll() is None:
        it.stop()


def queue(mail_system: MailSystem, *words: str) -> str:
    done = eqmail("--home", mail_system.home, "queue", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def listed(mail_system: MailSystem, *words: str) -> list[dict[str, object]]:
    found = json.loads(queue(mail_system, "list", "--json", *words))
    assert isinstance(found, list)
    return found


def deferred(mail_system: MailSystem, *recipients: str) -> None:
    for recipient in recipients:
        assert mail_system.inject(["-fsender@example.net", recipient], MESSAGE).returncode == 0
    until(lambda: [it["state"] for it in listed(mail_system)] == ["waiting"] * len(recipients), "the deferral")


def test_messages_are_held_and_released_while_the_services_run(mail_system: MailSystem) -> None:
    deferred(mail_system, "a@one.example", "b@two.example")
    assert "held" in queue(mail_system, "hold", "--where", "domain=one.example")
    assert [it["state"] for it in sorted(listed(mail_system), key=lambda entry: str(entry["recipients"]))] == [
        "held",
        "waiting",
    ]
    before = mail_system.log().count("starting delivery")
    queue(mail_system, "retry", "--all")
    until(lambda: mail_system.log().count("starting delivery") == before + 1, "one attempt")
    assert "audit: uid" in mail_system.log()
    mail_system.stop()
    mail_system.start()
    assert len(listed(mail_system, "--where", "state=held")) == 1, "a held message stays held"
    queue(mail_system, "release", "--all")
    until(
        lambda: "to remote a@one.example" in mail_system.log()[mail_system.log().rindex("status: exiting") :],
        "an attempt",
    )


def test_messages_are_deleted_and_returned_while_the_services_run(mail_system: MailSystem) -> None:
    deferred(mail_system, "a@one.example", "b@two.example")
    queue(mail_system, "delete", "--where", "domain=one.example")
    queue(mail_system, "bounce", "--where", "domain=two.example")
    until(lambda: "to remote sender@example.net" in mail_system.log(), "a bounce")
    until(lambda: [it["sender"] for it in listed(mail_system)] == [""], "only the bounce in the queue")
    assert eqmail("--home", mail_system.home, "queue", "delete", "1").returncode == 3


def test_the_same_is_possible_without_services_and_the_services_go_on_from_there(mail_system: MailSystem) -> None:
    deferred(mail_system, "a@one.example", "b@two.example", "c@three.example")
    mail_system.stop()
    queue(mail_system, "hold", "--where", "domain=one.example")
    queue(mail_system, "delete", "--where", "domain=two.example")
    queue(mail_system, "bounce", "--where", "domain=three.example")
    assert "messages: 2" in queue(mail_system, "stats")
    mail_system.start()
    until(lambda: "to remote sender@example.net" in mail_system.log(), "a bounce")
    assert [it["state"] for it in listed(mail_system, "--where", "domain=one.example")] == ["held"]


def test_messages_move_to_another_installation(mail_system: MailSystem, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert eqmail("--home", other, "setup", "--single-user").returncode == 0
    deferred(mail_system, "a@one.example", "b@two.example")
    [before] = listed(mail_system, "--where", "domain=one.example")
    assert "moved" in queue(mail_system, "move", "--to", str(other), "--where", "domain=one.example")
    assert [it["recipients"][0]["address"] for it in listed(mail_system)] == ["b@two.example"]  # type: ignore[index]
    assert f" move msg {before['number']} from <sender@example.net>: done" in mail_system.log()
    assert " delete msg " not in mail_system.log()
    found = json.loads(eqmail("--home", other, "queue", "list", "--json").stdout)
    assert len(found) == 1
    for name in ("birth", "size", "sender", "state", "recipients"):
        assert found[0][name] == before[name], name


def test_messages_in_memory_are_shown_too(mail_system: MailSystem) -> None:
    """A delivery that takes its time: for a second the message is nowhere but in memory."""
    alias = mail_system.home / "alias"
    (alias / ".qmail-slow").write_text("|sleep 3\n")
    mail_system.send(["slow@mail.example.org"], MESSAGE)
    environ = os.environ | {"EQMAIL_HOME": str(mail_system.home)}
    shown = subprocess.run(
        [mail_system.home / "bin/qmail-qread"], env=environ, capture_output=True, text=True, check=True
    )
    assert "\tlocal\tslow@mail.example.org" in shown.stdout
    until(lambda: listed(mail_system) == [], "the end of the delivery")
