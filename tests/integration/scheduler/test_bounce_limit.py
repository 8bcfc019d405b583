"""Bounces beyond the limit of their sender wait in the queue and go out later; none is lost."""

from pathlib import Path

import pytest

from tests.support.scheduler_harness import SchedulerHarness


def fail(harness: SchedulerHarness, number: int, sender: bytes, on_disk: bool) -> None:
    """Fail the only recipient of a message permanently."""
    if on_disk:
        harness.old(number, sender, remote=b"Ta@other.net\0")
        harness.scheduler.enqueue(number, 1, int(harness.now))
    else:
        harness.admit(number, b"F%b\0Ta@other.net\0\0" % sender)
    harness.turn()
    harness.report(b"a@other.net", b"D", b"no")
    harness.turn()


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_bounce_too_many_waits_and_goes_out_later(tmp_path: Path, on_disk: bool) -> None:
    harness = SchedulerHarness(tmp_path)
    harness.ending.limit.per_hour = 1
    harness.turn()
    fail(harness, 7, b"s@x", on_disk=on_disk)
    harness.lines()
    harness.now += 600
    fail(harness, 8, b"s@x", on_disk=on_disk)
    if not on_disk:
        harness.written(2, 8)
    assert len(harness.injector.bounces) == 1
    notices = "qmail-send: notice: bounce msg 8 waits 3000 seconds: <s@x> has had bouncelimit bounces within the hour"
    assert notices in harness.lines()
    assert b"a@other.net" in harness.files(8)["bounce"]
    harness.turn(2999)
    assert len(harness.injector.bounces) == 1
    harness.turn(1)
    assert [bounce[1] for bounce in harness.injector.bounces] == [b"s@x", b"s@x"]
    assert harness.files(8) == {}


def test_bounces_of_bounces_are_not_limited_and_failures_do_not_count(tmp_path: Path) -> None:
    harness = SchedulerHarness(tmp_path)
    harness.ending.limit.per_hour = 1
    harness.turn()
    for number in (7, 8):
        fail(harness, number, b"", on_disk=True)
    assert len(harness.injector.bounces) == 2
    harness.injector.code = 53
    fail(harness, 9, b"s@x", on_disk=True)
    harness.injector.code = 0
    harness.turn(123)
    assert len(harness.injector.bounces) == 4
    assert harness.files(9) == {}
