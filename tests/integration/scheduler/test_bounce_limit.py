"""Bounces beyond the limit of their sender wait in the queue and go out later; none is lost."""

from pathlib import Path

import pytest

from tests.support.scheduler_harness import Stage


def fail(stage: Stage, number: int, sender: bytes, on_disk: bool) -> None:
    """Have the only recipient of a message fail for good."""
    if on_disk:
        stage.old(number, sender, remote=b"Ta@other.net\0")
        stage.scheduler.enqueue(number, 1, int(stage.now))
    else:
        stage.admit(number, b"F%b\0Ta@other.net\0\0" % sender)
    stage.turn()
    stage.report(b"a@other.net", b"D", b"no")
    stage.turn()


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_bounce_too_many_waits_and_goes_out_later(tmp_path: Path, on_disk: bool) -> None:
    stage = Stage(tmp_path)
    stage.ending.limit.per_hour = 1
    stage.turn()
    fail(stage, 7, b"s@x", on_disk=on_disk)
    stage.lines()
    stage.now += 600
    fail(stage, 8, b"s@x", on_disk=on_disk)
    if not on_disk:
        stage.written(2, 8)
    assert len(stage.injector.bounces) == 1
    told = "qmail-send: notice: bounce msg 8 waits 3000 seconds: <s@x> has had bouncelimit bounces within the hour"
    assert told in stage.lines()
    assert b"a@other.net" in stage.files(8)["bounce"]
    stage.turn(2999)
    assert len(stage.injector.bounces) == 1
    stage.turn(1)
    assert [bounce[1] for bounce in stage.injector.bounces] == [b"s@x", b"s@x"]
    assert stage.files(8) == {}


def test_bounces_of_bounces_are_not_limited_and_trouble_does_not_count(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.ending.limit.per_hour = 1
    stage.turn()
    for number in (7, 8):
        fail(stage, number, b"", on_disk=True)
    assert len(stage.injector.bounces) == 2
    stage.injector.code = 53
    fail(stage, 9, b"s@x", on_disk=True)
    stage.injector.code = 0
    stage.turn(123)
    assert len(stage.injector.bounces) == 4
    assert stage.files(9) == {}
