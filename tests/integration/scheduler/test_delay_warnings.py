"""Senders hear once that their message still waits; attempts follow the schedule that was set."""

import os
from pathlib import Path

import pytest

from eqmail_core.dsn.notification import ReportedMessage
from eqmail_core.queue.files import WARNED_MODE
from tests.support.scheduler_harness import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    it = Stage(tmp_path)
    it.old(7, b"s@x", remote=b"Ta@other.net\0")
    return it


def warn(stage: Stage) -> None:
    it = stage.ending.bounce_now(7)
    it.failures = lambda: [stage.scheduler.block(b"a@other.net", b"not delivered yet\n")]
    stage.ending.send_delay_warning(7, it)


def test_a_sender_is_warned_once(stage: Stage) -> None:
    warn(stage)
    warn(stage)
    [(sender, recipient, text)] = stage.injector.bounces
    assert (sender, recipient) == (b"", b"s@x")
    assert b"Action: delayed" in text
    assert os.stat(stage.paths.info(7)).st_mode & 0o777 == WARNED_MODE
    assert stage.files(7) == {"info": b"Fs@x\0", "remote": b"Ta@other.net\0"}
    assert stage.lines() == ["qmail-send: notice: delay msg 7 qp 999"]


def test_a_warning_that_could_not_be_queued_is_tried_again(stage: Stage) -> None:
    stage.injector.code = 53
    warn(stage)
    stage.injector.code = 0
    warn(stage)
    assert len(stage.injector.bounces) == 2
    assert os.stat(stage.paths.info(7)).st_mode & 0o777 == WARNED_MODE


def test_every_deferred_attempt_on_the_disk_is_told_to_whoever_warns(stage: Stage) -> None:
    ages: list[int] = []
    stage.scheduler.on_deferred = lambda job: ages.append(job.age)
    stage.arrivals.find_old(int(stage.now))
    stage.turn(60)
    stage.report(b"a@other.net", b"Z", b"later")
    assert ages == [60]


def test_what_is_told_about_a_message_is_read_when_it_is_needed(stage: Stage) -> None:
    it = stage.ending.bounce_now(7)
    assert isinstance(it, ReportedMessage)
    assert (it.sender, it.size) == (b"s@x", 17)
    os.unlink(stage.paths.mess(7))
    with pytest.raises(FileNotFoundError):
        list(it.original())
