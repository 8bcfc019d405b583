"""Limits of submitters in the queue service: what is over them is held or refused, and postmaster is told."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eqmail_core.dsn.parameters import HELD, parse_dsn
from eqmail_core.dsn.submitter import facts_of, submitter_words, with_submitter
from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.client.async_service import AsyncQueueClient
from eqmail_core.queue.format import exit_codes as q
from eqmail_core.queue.format.todo import parse_todo
from tests.support.queue_harness import QueueHarness, make_site

MESSAGE = b"Subject: one\n\nbody\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_site(tmp_path)
    (tmp_path / "control").mkdir(exist_ok=True)
    (tmp_path / "control/me").write_text("mail.example.org\n")
    return tmp_path


@pytest.fixture
def start(home: Path) -> Iterator[Callable[[str], QueueHarness]]:
    """Starts the queue service of the home with these limits."""
    running: list[QueueHarness] = []

    def begin(limits: str) -> QueueHarness:
        (home / "control/submissionlimits").write_text(limits)
        from eqmail_core.site.site import Site

        running.append(QueueHarness(Site(home=str(home), split=3, single_user=True)))
        return running[-1]

    yield begin
    for harness in running:
        if not harness.loop.is_closed():
            harness.close()


def submit(harness: QueueHarness, login: bytes | None, recipients: int = 1, address: bytes = b"192.0.2.7") -> int:
    codes: list[int] = []
    dsn = with_submitter(b"", submitter_words(login, address))
    envelope = Envelope(b"s@x", [b"r%d@x" % each for each in range(recipients)], dsn)
    link = AsyncQueueClient(harness.loop, harness.path)
    link.submit(envelope.render(), MESSAGE, lambda code, number, when, qp: codes.append(code))
    harness.until(lambda: codes)
    link.close()
    return codes[0]


def queued(harness: QueueHarness) -> list[Envelope]:
    return [parse_todo(path.read_bytes()).envelope for path in harness.files("todo")]


def held(harness: QueueHarness) -> list[bytes]:
    return [facts[HELD] for facts in (facts_of(it.dsn) for it in queued(harness)) if HELD in facts]


def notices(harness: QueueHarness) -> list[str]:
    texts = [path.read_text() for path in harness.files("mess")]
    return [text for text in texts if "Auto-Submitted" in text]


def test_mail_over_the_limit_is_held_and_postmaster_is_told_once(start: Callable[[str], QueueHarness]) -> None:
    harness = start("login * messages=2/h\n")
    assert [submit(harness, b"joe@example.org") for _ in range(4)] == [q.OK] * 4
    harness.until(lambda: notices(harness))
    assert held(harness) == [b"login joe@example.org is over messages=2/h"] * 2
    (notice,) = notices(harness)
    assert "\nTo: postmaster@mail.example.org\n" in notice
    assert "eqmail queue delete --where 'login=joe@example.org'" in notice
    assert submit(harness, b"ann@example.org") == q.OK
    assert len(held(harness)) == 2, "others are not concerned"


def test_mail_over_the_limit_is_refused_if_the_line_says_so(start: Callable[[str], QueueHarness]) -> None:
    harness = start("login * recipients=5/h refuse\n")
    assert submit(harness, b"joe", 5) == q.OK
    assert submit(harness, b"joe", 1) == q.OVER_LIMIT
    assert q.explain(q.OVER_LIMIT).startswith(b"Z") and b"#4.7.1" in q.explain(q.OVER_LIMIT)
    harness.until(lambda: notices(harness))
    assert not held(harness)


def test_addresses_of_clients_are_limited_by_network(start: Callable[[str], QueueHarness]) -> None:
    harness = start("address 2001:db8::/32 messages=1/h\naddress 192.0.2.1 none\n")
    assert [submit(harness, None, 1, b"2001:db8::%d" % each) for each in range(3)] == [q.OK] * 3
    assert held(harness) == [b"address 2001:0db8:0000:0000::/64 is over messages=1/h"] * 2
    assert [submit(harness, None, 1, b"192.0.2.1") for each in range(3)] == [q.OK] * 3
    assert len(held(harness)) == 2


def test_use_is_kept_over_a_restart_of_the_service(start: Callable[[str], QueueHarness]) -> None:
    harness = start("login * messages=2/d\n")
    assert [submit(harness, b"joe") for _ in range(3)] == [q.OK] * 3
    harness.until(lambda: notices(harness))
    harness.stop()
    harness = start("login * messages=2/d\n")
    assert submit(harness, b"joe") == q.OK
    assert len(held(harness)) == 2 and len(notices(harness)) == 1


def test_a_damaged_file_of_use_stops_no_mail(
    home: Path, start: Callable[[str], QueueHarness], capfd: pytest.CaptureFixture[str]
) -> None:
    (home / "queue/lock/usage").write_bytes(os.urandom(5000))
    harness = start("login * messages=1/h\n")
    assert [submit(harness, b"joe") for _ in range(2)] == [q.OK] * 2
    assert len(held(harness)) == 1
    assert "lines are damaged and passed over" in capfd.readouterr().err


def test_a_file_of_use_that_cannot_be_written_stops_no_mail(
    home: Path, start: Callable[[str], QueueHarness], capfd: pytest.CaptureFixture[str]
) -> None:
    (home / "queue/lock/usage").mkdir()
    harness = start("login * messages=1/h\n")
    assert [submit(harness, b"joe") for _ in range(2)] == [q.OK] * 2
    assert len(held(harness)) == 1
    harness.stop()
    assert "the use of limits is not kept" in capfd.readouterr().err


def test_wrong_lines_are_said_and_the_others_count(
    start: Callable[[str], QueueHarness], capfd: pytest.CaptureFixture[str]
) -> None:
    harness = start("login joe messages=lots\nuid no-such-user-here messages=1/h\nlogin ann messages=1/h\n")
    assert [submit(harness, name) for name in (b"joe", b"joe", b"ann", b"ann")] == [q.OK] * 4
    assert len(held(harness)) == 1
    said = capfd.readouterr().err
    assert "'login joe messages=lots' is not KIND NAME" in said and "no user 'no-such-user-here'" in said


def test_floods_of_submitters_do_not_become_floods_of_notices(start: Callable[[str], QueueHarness]) -> None:
    harness = start("login * recipients=1/h\n")
    assert [submit(harness, b"u%d" % each, 2) for each in range(40)] == [q.OK] * 40
    harness.until(lambda: len(queued(harness)) == 60)
    assert len(held(harness)) == 40 and len(notices(harness)) == 20


def test_facts_are_not_believed_without_limits_and_a_reason_never(start: Callable[[str], QueueHarness]) -> None:
    harness = start("login ann messages=1/h\n")
    codes: list[int] = []
    link = AsyncQueueClient(harness.loop, harness.path)
    envelope = Envelope(b"s@x", [b"r@x"], b"W E:id L:joe X:forged")
    link.submit(envelope.render(), MESSAGE, lambda code, number, when, qp: codes.append(code))
    harness.until(lambda: codes)
    (found,) = queued(harness)
    dsn = parse_dsn(found.dsn)
    assert dsn is not None and dsn.envid == b"id" and dsn.facts == {b"L": b"joe"}
    link.close()
