"""Files of no message are swept at start; a message without its text, or with that of another, is not delivered."""

import os
from pathlib import Path

import pytest

from eqmail_core.queue.format.channels import HELD_UNTIL
from eqmail_core.queue.message_match import FITS, FOREIGN, message_state
from tests.integration.scheduler.test_memory_queue import queue_files
from tests.support.scheduler_harness import LOCAL, NOW, SchedulerHarness


@pytest.fixture
def harness(tmp_path: Path) -> SchedulerHarness:
    return SchedulerHarness(tmp_path)


def test_what_a_spill_that_was_cut_short_left_is_swept_at_start(harness: SchedulerHarness) -> None:
    harness.old(4, b"a@b", local=b"Tj@example.org\0")
    Path(harness.paths.bounce(4)).write_bytes(b"<k@example.org>:\nno\n\n")
    for path in (harness.paths.channel("local", 9), harness.paths.channel("remote", 9), harness.paths.bounce(9)):
        Path(path).write_bytes(b"Tx@y\0")
    Path(harness.paths.info(9) + ".tmp").write_bytes(b"Fx@y\0")
    harness.message(9)
    harness.scanner.find_old(NOW)
    assert queue_files(harness) == ["bounce/4", "info/1/4", "local/1/4", "mess/0/9", "mess/1/4"]
    assert harness.lines() == []


def test_lists_in_the_folder_of_another_split_are_not_taken_for_leftovers(harness: SchedulerHarness) -> None:
    harness.old(4, b"a@b", local=b"Tj@example.org\0")
    Path(f"{harness.paths.root}/local/0/4").write_bytes(b"Tx@y\0")
    harness.scanner.find_old(NOW)
    assert harness.files(4)["local"] == b"Tj@example.org\0"


def test_a_message_that_lost_its_text_leaves_the_queue_with_an_alert(harness: SchedulerHarness) -> None:
    harness.old(9, b"a@b", local=b"Tj@example.org\0")
    os.unlink(harness.paths.mess(9))
    harness.scanner.find_old(NOW)
    assert harness.lines() == [
        "alert: msg 9 from <a@b>: mess/0/9 is missing; taken out of the queue, local recipients were left"
    ]
    assert queue_files(harness) == []
    harness.turn()
    assert harness.lines() == []


def test_a_text_that_is_lost_later_is_found_when_its_turn_comes(harness: SchedulerHarness) -> None:
    harness.old(9, b"a@b", due_s=100, local=b"Tj@example.org\0")
    harness.scanner.find_old(NOW)
    os.unlink(harness.paths.mess(9))
    harness.turn(200)
    assert (harness.running, queue_files(harness)) == ([], [])


def test_a_text_in_the_folder_of_another_split_is_left_alone(harness: SchedulerHarness) -> None:
    harness.old(9, b"a@b", local=b"Tj@example.org\0")
    os.rename(harness.paths.mess(9), f"{harness.paths.root}/mess/1/9")
    harness.scanner.find_old(NOW)
    harness.turn()
    assert harness.running == []
    assert queue_files(harness) == ["info/0/9", "local/0/9", "mess/1/9"]
    assert harness.lines() == ["alert: mess/1/9 should be mess/0/9: left alone until eqmail check --fix"]


def named_by_inode(harness: SchedulerHarness) -> int:
    """A message on the disk whose number is its inode number, as all are that were not copied here."""
    draft = Path(harness.paths.root) / "draft"
    draft.write_bytes(b"a secret\n")
    number = draft.stat().st_ino
    os.rename(draft, harness.paths.mess(number))
    return number


def test_a_job_never_opens_a_message_younger_than_its_info(harness: SchedulerHarness) -> None:
    number = named_by_inode(harness)
    ghost = Path(harness.paths.channel("local", number))
    ghost.write_bytes(b"Tghost@example.org\0")
    os.utime(ghost, (NOW, NOW))
    Path(harness.paths.info(number)).write_bytes(b"Fghost@b\0")
    assert message_state(harness.queue_files, number) == FITS
    later = os.stat(harness.paths.info(number)).st_ctime_ns + 1
    os.utime(harness.paths.mess(number), ns=(later, later))
    assert message_state(harness.queue_files, number) == FOREIGN
    harness.scanner.find_old(NOW)
    harness.turn()
    assert harness.running == []
    assert harness.due_of(LOCAL, number) == [HELD_UNTIL - NOW]
    [line] = harness.lines()
    assert line.startswith(f"alert: mess/{harness.paths.split_name(number)} is younger than info/")


def test_a_message_whose_info_was_written_by_a_clock_that_was_set_back_is_its_own(harness: SchedulerHarness) -> None:
    number = named_by_inode(harness)
    Path(harness.paths.todo(number)).write_bytes(b"u7\0p42\0Fa@b\0Tj@example.org\0")
    future = os.stat(harness.paths.mess(number)).st_mtime_ns + 3_600_000_000_000
    os.utime(harness.paths.mess(number), ns=(future, future))
    harness.turn()
    assert message_state(harness.queue_files, number) == FITS
    assert harness.running == [b"j@example.org"]
    assert not harness.queue_files.is_warned(number)
    harness.queue_files.note_warned(number)
    assert harness.queue_files.is_warned(number)
    assert message_state(harness.queue_files, number) == FITS


def test_a_stray_bounce_does_not_reach_the_sender_of_the_next_message_with_its_number(
    harness: SchedulerHarness,
) -> None:
    harness.todo(9, b"Fa@b\0Tj@example.org\0")
    Path(harness.paths.bounce(9)).write_bytes(b"<somebody@else.example>:\nof another message\n\n")
    harness.turn()
    harness.report(b"j@example.org", b"K")
    harness.turn()
    assert (harness.injector.bounces, queue_files(harness)) == ([], [])


def test_reading_a_list_that_cannot_be_scheduled_keeps_no_file_open(harness: SchedulerHarness) -> None:
    """A long list stays open only while it is read."""
    harness.old(9, b"a@b", local=b"Tj@example.org\0" * 10_000)
    harness.scanner.find_old(NOW)
    Path(harness.paths.info(9)).write_bytes(b"broken")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        harness.turn(200)
    assert len(os.listdir("/proc/self/fd")) == before
    assert harness.running == []


@pytest.mark.parametrize("is_late", [False, True])
def test_failures_of_a_message_that_lost_its_text_are_reported_once(harness: SchedulerHarness, is_late: bool) -> None:
    harness.old(9, b"a@b", due_s=100, local=b"Tj@example.org\0Dk@example.org\0")
    Path(harness.paths.bounce(9)).write_bytes(b"<k@example.org>:\nno\n\n")
    if is_late:
        harness.scanner.find_old(NOW)
    os.unlink(harness.paths.mess(9))
    if not is_late:
        harness.scanner.find_old(NOW)
    harness.turn(200)
    [(_, recipient, text)] = harness.injector.bounces
    assert recipient == b"a@b"
    assert b"<k@example.org>:\nno\n" in text
    assert text.endswith(b"Return-Path: <a@b>\n\n(The text of the message has been lost.)\n")
    assert (harness.running, queue_files(harness)) == ([], [])
