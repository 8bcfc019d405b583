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
    found = json.loads(queue(mail_system, "list", "--json", *words))["messages"]
    assert isinstance(found, list)
    return found


def recipient_of(message: dict[str, object]) -> dict[str, object]:
    recipients = message["recipients"]
    assert isinstance(recipients, list)
    found = recipients[0]
    assert isinstance(found, dict)
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
    queue(mail_system, "delete", "--yes", "--where", "domain=one.example")
    queue(mail_system, "bounce", "--yes", "--where", "domain=two.example")
    until(lambda: "to remote sender@example.net" in mail_system.log(), "a bounce")
    until(lambda: [it["sender"] for it in listed(mail_system)] == [""], "only the bounce in the queue")
    assert eqmail("--home", mail_system.home, "queue", "delete", "1").returncode == 3


def test_the_same_is_possible_without_services_and_the_services_go_on_from_there(mail_system: MailSystem) -> None:
    deferred(mail_system, "a@one.example", "b@two.example", "c@three.example")
    mail_system.stop()
    queue(mail_system, "hold", "--where", "domain=one.example")
    queue(mail_system, "delete", "--yes", "--where", "domain=two.example")
    queue(mail_system, "bounce", "--yes", "--where", "domain=three.example")
    assert "2 messages, 1 recipient" in queue(mail_system, "stats")
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
    [found] = json.loads(eqmail("--home", other, "queue", "list", "--json").stdout)["messages"]
    for name in ("birth", "size", "sender", "state"):
        assert found[name] == before[name], name
    assert recipient_of(found)["due"] == recipient_of(before)["due"]


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


def test_the_reason_of_a_deferral_and_the_attempts_are_shown_after_a_restart_too(mail_system: MailSystem) -> None:
    deferred(mail_system, "a@one.example")
    [message] = listed(mail_system)
    first = recipient_of(message)
    assert first["attempts"] == 1
    assert "(#4.4.1)" in str(first["reason"])
    queue(mail_system, "retry", "--all")
    until(lambda: recipient_of(listed(mail_system)[0])["attempts"] == 2, "a second attempt")
    mail_system.stop()
    assert recipient_of(listed(mail_system)[0])["attempts"] == 2, "without services"
    mail_system.start()
    assert recipient_of(listed(mail_system)[0])["attempts"] == 2, "with the next services"
    assert "4.4.1 " in queue(mail_system, "list")
    assert "2 attempts, last " in queue(mail_system, "show", str(message["number"]))


def test_all_messages_are_deleted_only_after_a_yes(mail_system: MailSystem) -> None:
    deferred(mail_system, "a@one.example", "b@two.example")
    refused = eqmail("--home", mail_system.home, "queue", "delete", "--all")
    assert refused.returncode == 2
    assert "2 messages, 2 recipients" in refused.stderr
    assert "--yes is required" in refused.stderr
    assert len(listed(mail_system)) == 2
    assert queue(mail_system, "delete", "--all", "--yes").endswith("2 messages deleted.\n")
    assert listed(mail_system) == []


def test_a_suspended_domain_waits_until_it_is_resumed(mail_system: MailSystem) -> None:
    queue(mail_system, "suspend", "one.example", "--for", "2h")
    assert mail_system.inject(["-fsender@example.net", "a@one.example"], MESSAGE).returncode == 0
    until(lambda: [it["state"] for it in listed(mail_system)] == ["waiting"], "a message on the disk")
    assert recipient_of(listed(mail_system)[0])["attempts"] == 0
    assert "domain suspended until " in queue(mail_system, "list")
    assert "one.example" in queue(mail_system, "suspend")
    mail_system.stop()
    mail_system.start()
    queue(mail_system, "retry", "--all")
    assert "to remote a@one.example" not in mail_system.log()
    queue(mail_system, "resume", "one.example")
    until(lambda: "to remote a@one.example" in mail_system.log(), "an attempt")
    assert not (mail_system.home / "control/suspendeddomains").exists()
    for words in (["suspend", "a b"], ["suspend", "x@y"], ["suspend", "a.example", "--for", "soon"], ["resume"]):
        assert eqmail("--home", mail_system.home, "queue", *words).returncode == 2, words


def test_the_list_is_sorted_and_limited_and_the_message_is_written_whole(mail_system: MailSystem) -> None:
    deferred(mail_system, "a@one.example", "b@two.example")
    assert mail_system.inject(["-fx@example.net", "c@three.example"], MESSAGE + "long\n" * 1000).returncode == 0
    until(lambda: len(listed(mail_system)) == 3, "three messages")
    by_size = listed(mail_system, "--sort", "size", "--limit", "1")
    assert [recipient_of(it)["address"] for it in by_size] == ["c@three.example"]
    lines = queue(mail_system, "list", "--sort", "sender", "--limit", "2").splitlines()
    assert lines[0].split() == ["ID", "STATE", "AGE", "SIZE", "NEXT", "SENDER", "RECIPIENT", "REASON"]
    assert lines[-1].startswith("3 messages, 3 recipients, ")
    assert "1 not shown" in lines[-1]
    until(lambda: listed(mail_system, "--where", "domain=three.example")[0]["state"] == "waiting", "the deferral")
    raw = queue(mail_system, "show", "--raw", str(by_size[0]["number"]))
    assert raw.startswith("Received: ")
    assert raw.endswith("long\n")
