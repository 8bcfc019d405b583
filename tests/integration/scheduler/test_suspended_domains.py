"""Mail to suspended domains waits without an attempt, and goes on afterwards."""

from pathlib import Path

import pytest

from eqmail_core.control.controls import Controls
from eqmail_core.control.list_kinds import NO_END, parse_time, render_time
from eqmail_core.scheduler.destination_queues import DestinationQueues
from eqmail_core.scheduler.suspension import suspension_of
from tests.support.scheduler_harness import NOW, REMOTE, SchedulerHarness


@pytest.fixture(params=["by turns", "by destination"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> SchedulerHarness:
    it = SchedulerHarness(tmp_path)
    if request.param == "by destination":
        it.scheduler.channels[REMOTE].room = DestinationQueues(20)
    return it


def test_nothing_is_tried_at_a_suspended_domain_until_its_time(harness: SchedulerHarness) -> None:
    harness.scheduler.suspend_domains({b"other.net": NOW + 100})
    harness.old(7, b"s@x", remote=b"Ta@other.net\0Tb@third.net\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    assert harness.running == [b"b@third.net"]
    harness.report(b"b@third.net", b"K")
    harness.turn(90)
    assert harness.running == []
    harness.turn(10)
    assert harness.running == [b"a@other.net"]


def test_an_unlimited_suspension_lasts_until_it_is_removed(harness: SchedulerHarness) -> None:
    harness.scheduler.suspend_domains({b"other.net": NO_END})
    harness.old(7, b"s@x", age_s=10_000_000, remote=b"Ta@other.net\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    harness.turn(10_000_000)
    harness.scheduler.retry_all()
    harness.turn()
    assert harness.running == []
    assert harness.injector.bounces == [], "what is not tried does not fail"
    harness.scheduler.suspend_domains(None)
    harness.scheduler.retry_all()
    harness.turn()
    assert harness.running == [b"a@other.net"]


def test_what_waited_for_a_suspension_is_tried_when_it_ends(harness: SchedulerHarness) -> None:
    """Whoever asked for an attempt just before the scheduler knew of the end has no need to ask again."""
    harness.scheduler.suspend_domains({b"other.net": NO_END, b"third.net": NO_END})
    harness.old(7, b"s@x", remote=b"Ta@other.net\0")
    harness.old(8, b"s@x", remote=b"Tb@third.net\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    harness.scheduler.retry_all()
    harness.turn()
    harness.scheduler.suspend_domains({b"third.net": NO_END})
    harness.turn()
    assert harness.running == [b"a@other.net"]
    harness.scheduler.suspend_domains(None)
    harness.turn()
    assert harness.running == [b"a@other.net", b"b@third.net"]


def test_an_attempt_that_is_still_open_comes_back_at_the_end_of_a_suspension(harness: SchedulerHarness) -> None:
    harness.scheduler.suspend_domains({b"other.net": NO_END})
    harness.old(7, b"s@x", remote=b"Ta@other.net\0Tb@third.net\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    assert harness.running == [b"b@third.net"]
    harness.scheduler.suspend_domains(None)
    harness.report(b"b@third.net", b"K")
    harness.turn(1)
    assert harness.running == [b"a@other.net"]


def test_local_domains_are_suspended_too(harness: SchedulerHarness) -> None:
    harness.scheduler.suspend_domains({b"example.org": NO_END})
    serial = harness.admit(9, b"Fs@x\0Tj@example.org\0")
    harness.turn()
    assert harness.running == []
    assert ("waits", serial) in harness.message_store.notices, "it is written to the disk"
    harness.written(serial, 9)
    assert harness.files(9)["local"] == b"Tj@example.org\0"


def test_waiting_deliveries_return_to_their_channel(tmp_path: Path) -> None:
    harness = SchedulerHarness(tmp_path)
    harness.scheduler.channels[REMOTE].room = DestinationQueues(20)
    harness.old(7, b"s@x", remote=b"".join(b"T%d@other.net\0" % count for count in range(50)))
    harness.scanner.find_old(NOW)
    harness.turn()
    running = len(harness.running)
    assert 0 < running < 50
    harness.scheduler.suspend_domains({b"other.net": NO_END})
    for recipient in list(harness.running):
        harness.report(recipient, b"K")
    harness.turn(1_000_000)
    assert harness.running == []
    assert harness.files(7)["remote"].count(b"T") == 50 - running


@pytest.mark.parametrize(
    ("host", "end"),
    [
        (b"a.test", 500),
        (b"A.Test", 500),
        (b"x.a.test", None),
        (b"b.test", None),
        (b"x.y.b.test", 700),
        (b"old.test", None),
        (b"ever.test", NO_END),
        (b"", None),
    ],
)
def test_a_line_is_for_a_host_or_for_all_below_it(host: bytes, end: int | None) -> None:
    domains = {b"a.test": 500, b".b.test": 700, b"old.test": 50, b"ever.test": NO_END}
    assert suspension_of(domains, host, 100.0) == end
    assert suspension_of(None, host, 100.0) is None


def test_times_are_written_in_readable_form() -> None:
    assert render_time(1_796_133_600) == b"2026-12-01T14:00:00Z"
    assert parse_time(b"2026-12-01T14:00:00Z") == 1_796_133_600
    assert parse_time(b"tomorrow") is None
    assert parse_time(b"\xff") is None
    text = b"# busy\nA.test:2026-12-01T14:00:00Z\nb.test\nc.test:soon\n"
    found, remarks = Controls.suspendeddomains.parse(text)
    assert found == {b"a.test": 1_796_133_600, b"b.test": NO_END, b"c.test": NO_END}
    assert len(remarks) == 1
    assert "c.test:soon" in remarks[0]
