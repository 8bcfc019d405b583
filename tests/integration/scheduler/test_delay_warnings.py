"""Senders get one warning about a delayed message; attempts follow the configured schedule."""

import os
from pathlib import Path

import pytest

from eqmail_core.dsn.notification import ReportedMessage
from eqmail_core.queue.files import WARNED_MODE
from tests.support.scheduler_harness import SchedulerHarness


@pytest.fixture
def harness(tmp_path: Path) -> SchedulerHarness:
    it = SchedulerHarness(tmp_path)
    it.old(7, b"s@x", remote=b"Ta@other.net\0")
    return it


def warn(harness: SchedulerHarness) -> None:
    it = harness.ending.bounce_now(7)
    it.failures = lambda: [harness.scheduler.block(b"a@other.net", b"not delivered yet\n")]
    harness.ending.send_delay_warning(7, it)


def test_a_sender_is_warned_once(harness: SchedulerHarness) -> None:
    warn(harness)
    warn(harness)
    [(sender, recipient, text)] = harness.injector.bounces
    assert (sender, recipient) == (b"", b"s@x")
    assert b"Action: delayed" in text
    assert os.stat(harness.paths.info(7)).st_mode & 0o777 == WARNED_MODE
    assert harness.files(7) == {"info": b"Fs@x\0", "remote": b"Ta@other.net\0"}
    assert harness.lines() == ["qmail-send: notice: delay msg 7 qp 999"]


def test_a_warning_that_could_not_be_queued_is_tried_again(harness: SchedulerHarness) -> None:
    harness.injector.code = 53
    warn(harness)
    harness.injector.code = 0
    warn(harness)
    assert len(harness.injector.bounces) == 2
    assert os.stat(harness.paths.info(7)).st_mode & 0o777 == WARNED_MODE


def test_every_deferred_attempt_on_the_disk_is_passed_to_the_delay_warner(harness: SchedulerHarness) -> None:
    ages: list[int] = []
    harness.scheduler.on_deferred = lambda job: ages.append(job.age)
    harness.scanner.find_old(int(harness.now))
    harness.turn(60)
    harness.report(b"a@other.net", b"Z", b"later")
    assert ages == [60]


def test_message_details_are_read_when_needed(harness: SchedulerHarness) -> None:
    it = harness.ending.bounce_now(7)
    assert isinstance(it, ReportedMessage)
    assert (it.sender, it.size) == (b"s@x", 17)
    os.unlink(harness.paths.mess(7))
    with pytest.raises(FileNotFoundError):
        list(it.original())
