"""Copies are explained by the fault that was there, and only by that."""

import random
from pathlib import Path

from tests.reliability.checker import MAILDIRS
from tests.reliability.cluster_copies import UNEXPLAINED, causes
from tests.reliability.cluster_faults import DATABASE, Fault
from tests.reliability.load import ME, USER, Sent
from tests.reliability.messages import make
from tests.reliability.sink import DELIVERED, Delivery
from tests.support.mail_system import make_maildir

NODES = {"198.18.2.4": "ann", "198.18.2.5": "bob"}
ADDRESS = "r0-m1@d1.sink.example.net"


def explained(tmp_path: Path, *faults: Fault) -> list[str]:
    """The causes of a copy that ann delivered at 100 s and bob at 200 s."""
    for box in MAILDIRS:
        make_maildir(tmp_path / box)
    deliveries = [
        Delivery(when, DELIVERED, ADDRESS, "m1", True, client)
        for when, client in zip((100.0, 200.0), NODES, strict=True)
    ]
    found = causes([], deliveries, NODES, tmp_path, list(faults))
    return [kind.partition(":")[0] for kind in found.elements()]


def test_a_fault_of_the_first_node_or_of_the_database_explains_a_copy(tmp_path: Path) -> None:
    assert explained(tmp_path, Fault("node killed", "ann", 101, 102)) == ["node killed"]
    assert explained(tmp_path, Fault("primary killed", DATABASE, 80, 90)) == ["primary killed"]
    assert explained(tmp_path, Fault("node stopped", "bob", 150, 199.5)) == ["node stopped"]


def test_other_faults_do_not(tmp_path: Path) -> None:
    elsewhere = Fault("node killed", "bob", 101, 102), Fault("node killed", "ann", 110, 111)
    assert explained(tmp_path, *elsewhere) == [UNEXPLAINED]
    assert explained(tmp_path, Fault("primary killed", DATABASE, 20, 30), *elsewhere) == [UNEXPLAINED]


def test_two_of_what_was_meant_for_two_is_no_copy(tmp_path: Path) -> None:
    for box in MAILDIRS:
        make_maildir(tmp_path / box)
    text = make("m1", 100, random.Random(1))
    for name in "ab":
        (tmp_path / "Maildir/new" / name).write_text(text)
    both = Sent("m1", (f"{USER}@{ME}", f"{USER}-two@{ME}"), "acknowledged", 1.0)
    assert not causes([both], [], NODES, tmp_path, [])
    assert causes([both._replace(recipients=(f"{USER}@{ME}",))], [], NODES, tmp_path, []).total() == 1
