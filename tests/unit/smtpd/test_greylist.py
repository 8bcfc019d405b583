"""Greylisting: who is deferred, who is known, what is forgotten, and that trouble counts for the sender."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eqmail_core.dns.query import DnsAnswer
from eqmail_core.mail_auth.spf import SpfResult
from eqmail_core.smtpd.policy.greylisting import DEFERRED, PASSED, Greylist, origin_of
from eqmail_core.smtpd.policy.requests import CheckGreylist, RunSearch
from eqmail_core.smtpd.protocol.events import Decision
from eqmail_core.smtpd.server import greylist_database
from eqmail_core.smtpd.server.greylist_database import (
    KNOWN_S,
    LEARN,
    PAUSE_S,
    WINDOW_S,
    GreylistDatabase,
    check_greylist,
)

NET = b"192.0.2.0/24"


class Senders:
    """A database whose clock is set by the test."""

    def __init__(self, path: Path, capacity: int = 1000) -> None:
        self.now = 1_700_000_000.0
        self.path = str(path)
        self.database = GreylistDatabase(self.path, lambda: self.now, capacity)

    def ask(
        self, sender: bytes = b"a@b", recipient: bytes = b"r@x", origin: bytes = NET, only_looks: bool = False
    ) -> bytes:
        return check_greylist(self.database, CheckGreylist(self.path, origin, sender, recipient, 300, only_looks))


@pytest.fixture
def senders(tmp_path: Path) -> Senders:
    return Senders(tmp_path / "senders.db")


def test_a_second_attempt_after_the_delay_passes_and_further_ones_at_once(senders: Senders) -> None:
    assert senders.ask() == DEFERRED
    senders.now += 299
    assert senders.ask() == DEFERRED
    senders.now += 1
    assert senders.ask(recipient=b"other@x") == DEFERRED
    assert senders.ask() == PASSED
    assert senders.ask() == PASSED
    senders.now += KNOWN_S + 1
    assert senders.ask() == DEFERRED, "after a long silence it begins anew"


def test_a_first_attempt_counts_for_a_day(senders: Senders) -> None:
    senders.ask()
    senders.now += WINDOW_S + 1
    assert senders.ask() == DEFERRED
    senders.now += 300
    assert senders.ask() == PASSED


def test_a_look_notes_nothing(senders: Senders) -> None:
    assert senders.ask(only_looks=True) == DEFERRED
    assert senders.database.attempts() == []


def test_a_network_from_which_senders_came_back_is_known(senders: Senders) -> None:
    for each in range(LEARN):
        senders.ask(b"u%d@b" % each)
    assert senders.ask(b"new@b") == DEFERRED
    senders.now += 300
    for each in range(LEARN):
        assert senders.ask(b"u%d@b" % each) == PASSED
    assert senders.ask(b"newer@b") == PASSED
    assert senders.ask(b"newer@b", origin=b"198.51.100.0/24") == DEFERRED
    senders.now += KNOWN_S + 1
    assert senders.ask(b"newest@b") == DEFERRED


def test_a_clock_that_was_set_back_begins_anew(senders: Senders) -> None:
    senders.ask()
    senders.now -= 10 * 86400
    assert senders.ask() == DEFERRED
    senders.now += 300
    assert senders.ask() == PASSED


def test_a_flood_from_one_network_is_one_entry(senders: Senders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greylist_database, "MAX_WAITING", 20)
    for each in range(200):
        assert senders.ask(b"u%d@b" % each) == DEFERRED
    assert len(senders.database.attempts()) == 21
    senders.now += 300
    assert senders.ask(b"u199@b") == PASSED, "the network waited"


def test_the_number_of_entries_is_bounded(tmp_path: Path) -> None:
    senders = Senders(tmp_path / "senders.db", capacity=100)
    for each in range(300):
        senders.ask(origin=b"10.0.%d.0/24" % each)
    senders.now += 601
    senders.ask(origin=b"last")
    assert len(senders.database.attempts()) == 101
    senders.now += WINDOW_S + 601
    senders.ask(origin=b"later")
    assert [it.origin for it in senders.database.attempts()] == [b"later"]


def test_what_is_forgotten_waits_again(senders: Senders) -> None:
    senders.ask()
    senders.now += 300
    assert senders.ask() == PASSED
    assert senders.database.forget(NET) == 2
    assert senders.ask() == DEFERRED
    assert senders.database.forget(b"a@b") == 1


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(os.urandom(8192)), lambda path: path.mkdir()])
def test_with_a_damaged_database_senders_are_accepted(
    tmp_path: Path, damage: Callable[[Path], object], capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "senders.db"
    damage(path)
    senders = Senders(path)
    assert [senders.ask() for _ in range(3)] == [PASSED] * 3
    assert "senders are accepted meanwhile" in capfd.readouterr().err
    (path.rmdir if path.is_dir() else path.unlink)()
    senders.now += PAUSE_S + 1
    assert senders.ask() == DEFERRED, "it is looked at again"


def test_without_its_folder_senders_are_accepted(tmp_path: Path) -> None:
    assert Senders(tmp_path / "missing/senders.db").ask() == PASSED


def test_eight_processes_share_it(tmp_path: Path) -> None:
    path = tmp_path / "senders.db"

    def work(worker: int) -> list[bytes]:
        senders = Senders(path)
        answers = [senders.ask(b"w%d-%d@b" % (worker, each), origin=b"net%d" % each) for each in range(30)]
        senders.database.close()
        return answers

    with ThreadPoolExecutor(8) as pool:
        assert {answer for answers in pool.map(work, range(8)) for answer in answers} == {DEFERRED}
    assert len(Senders(path).database.attempts()) == 240


def decide(senders: Senders, ip: bytes, spf: SpfResult) -> bytes:
    """The reply to a recipient."""
    greylist = Greylist(senders.path, 300, b"mx.test", lambda: senders.now)
    deciding = greylist.decide(ip, b"helo.test", b"Joe@B.test", b"r@x", Decision(True, [b"250 ok"]))
    answer: bytes | SpfResult | list[DnsAnswer] | None = None
    try:
        while True:
            request = deciding.send(answer)  # type: ignore[arg-type]
            answer = check_greylist(senders.database, request) if isinstance(request, CheckGreylist) else spf
            assert isinstance(request, CheckGreylist | RunSearch)
    except StopIteration as end:
        return bytes(end.value.lines[0])


def test_a_sender_whose_spf_passes_is_known_by_its_domain(senders: Senders) -> None:
    passed, none = SpfResult(b"pass", domain=b"b.test"), SpfResult(b"none", domain=b"b.test")
    assert decide(senders, b"192.0.2.1", passed).startswith(b"451 ")
    assert decide(senders, b"203.0.113.9", none).startswith(b"451 ")
    senders.now += 300
    assert decide(senders, b"198.51.100.1", passed) == b"250 ok", "another host of the domain"
    assert decide(senders, b"198.51.100.1", none).startswith(b"451 ")
    assert decide(senders, b"203.0.113.77", none) == b"250 ok", "another host of the network"


def test_clients_are_known_by_network() -> None:
    assert origin_of(b"192.0.2.77") == b"192.0.2.0/24"
    assert origin_of(b"2001:db8::7") == b"2001:0db8:0000:0000::/64"
    assert origin_of(b"unknown") == b"unknown"
