"""`eqmail queue` and qmail-qread, with the services and without them."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import eqmail
from tests.support.mail_system import House, until

MESSAGE = "Subject: x\n\nbody\n"


@pytest.fixture
def house(private_home: Path) -> Iterator[House]:
    """Mail for elsewhere is deferred at once: nobody listens there."""
    (private_home / "control/smtproutes").write_text(":127.0.0.1:1\n")
    it = House(private_home)
    yield it
    if it.process is not None and it.process.poll() is None:
        it.stop()


def queue(house: House, *words: str) -> str:
    done = eqmail("--home", house.home, "queue", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def listed(house: House, *words: str) -> list[dict[str, object]]:
    found = json.loads(queue(house, "list", "--json", *words))
    assert isinstance(found, list)
    return found


def deferred(house: House, *recipients: str) -> None:
    for recipient in recipients:
        assert house.inject(["-fsender@example.net", recipient], MESSAGE).returncode == 0
    until(lambda: [it["state"] for it in listed(house)] == ["waiting"] * len(recipients), "the deferral")


def test_messages_are_held_and_let_go_while_the_services_run(house: House) -> None:
    deferred(house, "a@one.example", "b@two.example")
    assert "held" in queue(house, "hold", "--where", "domain=one.example")
    assert [it["state"] for it in sorted(listed(house), key=lambda it: str(it["recipients"]))] == ["held", "waiting"]
    before = house.log().count("starting delivery")
    queue(house, "retry", "--all")
    until(lambda: house.log().count("starting delivery") == before + 1, "one attempt")
    assert "audit: uid" in house.log()
    house.stop()
    house.start()
    assert len(listed(house, "--where", "state=held")) == 1, "a held message stays held"
    queue(house, "release", "--all")
    until(lambda: "to remote a@one.example" in house.log()[house.log().rindex("status: exiting") :], "an attempt")


def test_messages_are_deleted_and_returned_while_the_services_run(house: House) -> None:
    deferred(house, "a@one.example", "b@two.example")
    queue(house, "delete", "--where", "domain=one.example")
    queue(house, "bounce", "--where", "domain=two.example")
    until(lambda: "to remote sender@example.net" in house.log(), "a bounce")
    until(lambda: [it["sender"] for it in listed(house)] == [""], "only the bounce in the queue")
    assert eqmail("--home", house.home, "queue", "delete", "1").returncode == 3


def test_the_same_is_possible_without_services_and_the_services_go_on_from_there(house: House) -> None:
    deferred(house, "a@one.example", "b@two.example", "c@three.example")
    house.stop()
    queue(house, "hold", "--where", "domain=one.example")
    queue(house, "delete", "--where", "domain=two.example")
    queue(house, "bounce", "--where", "domain=three.example")
    assert "messages: 2" in queue(house, "stats")
    house.start()
    until(lambda: "to remote sender@example.net" in house.log(), "a bounce")
    assert [it["state"] for it in listed(house, "--where", "domain=one.example")] == ["held"]


def test_messages_move_to_another_installation(house: House, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert eqmail("--home", other, "setup", "--single-user").returncode == 0
    deferred(house, "a@one.example", "b@two.example")
    [before] = listed(house, "--where", "domain=one.example")
    assert "moved" in queue(house, "move", "--to", str(other), "--where", "domain=one.example")
    assert [it["recipients"][0]["address"] for it in listed(house)] == ["b@two.example"]  # type: ignore[index]
    assert f" move msg {before['number']} from <sender@example.net>: done" in house.log()
    assert " delete msg " not in house.log()
    found = json.loads(eqmail("--home", other, "queue", "list", "--json").stdout)
    assert len(found) == 1
    for name in ("birth", "size", "sender", "state", "recipients"):
        assert found[0][name] == before[name], name


def test_messages_in_memory_are_shown_too(house: House) -> None:
    """A delivery that takes its time: for a second the message is nowhere but in memory."""
    alias = house.home / "alias"
    (alias / ".qmail-slow").write_text("|sleep 3\n")
    house.send(["slow@mail.example.org"], MESSAGE)
    environ = os.environ | {"EQMAIL_HOME": str(house.home)}
    shown = subprocess.run([house.home / "bin/qmail-qread"], env=environ, capture_output=True, text=True, check=True)
    assert "\tlocal\tslow@mail.example.org" in shown.stdout
    until(lambda: listed(house) == [], "the end of the delivery")
