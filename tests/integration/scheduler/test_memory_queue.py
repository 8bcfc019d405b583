"""Messages in memory: delivered without a file, or written to the disk in time and whole."""

import errno
import os
from pathlib import Path

import pytest

from eqmail_core.mail.message_identity import MessageIdentity
from eqmail_core.scheduler.queue_scanner import ABANDONED_S, SWEEP_S
from eqmail_core.scheduler.retry_schedule import next_retry
from tests.support.scheduler_harness import LOCAL, NOW, REMOTE, SchedulerHarness

BOTH = b"Fa@b\0Tj@example.org\0Tr@other.net\0Tk@example.org\0"


@pytest.fixture
def harness(tmp_path: Path) -> SchedulerHarness:
    return SchedulerHarness(tmp_path)


def queue_files(harness: SchedulerHarness) -> list[str]:
    return sorted(
        str(path.relative_to(harness.paths.root)) for path in Path(harness.paths.root).rglob("*") if path.is_file()
    )


def test_a_message_that_is_delivered_at_once_never_touches_the_disk(harness: SchedulerHarness) -> None:
    serial = harness.admit(9, BOTH)
    harness.turn()
    places = {order[0].recipient: order[0].recipient_index for order in (*harness.local.orders, *harness.remote.orders)}
    assert places == {b"j@example.org": 0, b"r@other.net": 1, b"k@example.org": 2}
    for recipient in (b"k@example.org", b"r@other.net", b"j@example.org"):
        assert harness.message_store.notices == []
        harness.report(recipient, b"K", b"ok\n")
    assert harness.message_store.notices == [("finished", serial)]
    assert harness.lines()[:2] == ["new msg 9", "info msg 9: bytes 17 from <a@b> qp 42 uid 7"]
    assert queue_files(harness) == []
    assert harness.held.messages == {}
    assert not harness.held.is_held(9)


def test_a_message_without_recipients_is_finished_at_once(harness: SchedulerHarness) -> None:
    serial = harness.admit(9, b"Fa@b\0")
    assert harness.message_store.notices == [("finished", serial)]
    assert harness.lines()[-1] == "end msg 9"


def test_a_success_must_be_durable_before_the_journal_forgets(harness: SchedulerHarness) -> None:
    serial = harness.admit(9, b"Fa@b\0Tj@example.org\0")
    harness.turn()
    delivery = harness.report(b"j@example.org", b"K", durable=False)
    harness.turn()
    assert harness.message_store.notices == []
    harness.scheduler.results.mark_durable(delivery)
    assert harness.message_store.notices == [("finished", serial)]


def test_a_deferred_recipient_sends_the_message_to_the_disk(harness: SchedulerHarness) -> None:
    serial = harness.admit(9, BOTH)
    harness.turn()
    harness.report(b"j@example.org", b"K")
    harness.report(b"k@example.org", b"Z", b"later")
    assert harness.message_store.notices == [("waits", serial)]
    harness.written(serial, 9)
    assert harness.message_store.notices == [("waits", serial), ("placed", serial)]
    assert harness.files(9) == {
        "info": b"Fa@b\0",
        "local": b"Dj@example.org\0Tk@example.org\0",
        "remote": b"Tr@other.net\0",
    }
    assert os.stat(harness.paths.info(9)).st_mtime == NOW
    assert os.stat(harness.paths.channel("local", 9)).st_mtime == next_retry(NOW, NOW, LOCAL)
    assert {os.stat(path).st_mode & 0o777 for path in (harness.paths.info(9), harness.paths.channel("local", 9))} == {
        0o600
    }
    assert harness.due_of(LOCAL, 9) == [100]
    assert harness.held.messages == {}

    # the delivery that was running goes on, and its report is written on the disk
    harness.report(b"r@other.net", b"K")
    assert "remote" not in harness.files(9)
    harness.turn(100)
    harness.report(b"k@example.org", b"K")
    harness.turn()
    assert harness.lines()[-1] == "end msg 9"
    assert queue_files(harness) == []
    assert harness.message_store.notices[-1] == ("placed", serial)


def test_an_attempt_that_takes_longer_than_a_second_sends_the_message_to_the_disk(harness: SchedulerHarness) -> None:
    serial = harness.admit(9, b"Fa@b\0Tr@other.net\0")
    harness.turn()
    harness.turn(0.9)
    assert harness.message_store.notices == []
    harness.turn(0.6)
    assert harness.message_store.notices == [("waits", serial)]
    harness.written(serial, 9)
    assert harness.files(9) == {"info": b"Fa@b\0", "remote": b"Tr@other.net\0"}
    harness.report(b"r@other.net", b"K")
    harness.turn()
    assert queue_files(harness) == []


def test_a_message_that_waits_for_its_turn_stays_longer_and_is_then_queued_as_any_other(tmp_path: Path) -> None:
    harness = SchedulerHarness(tmp_path, limits=(1, 0))
    first = harness.admit(8, b"Fa@b\0Tj@example.org\0")
    second = harness.admit(9, b"Fa@b\0Tk@example.org\0")
    harness.turn()
    harness.turn(2)
    assert harness.message_store.notices == [("waits", first)]
    harness.turn(9)
    assert harness.message_store.notices[-1] == ("waits", second)
    harness.written(second, 9)
    harness.report(b"j@example.org", b"K")
    harness.turn()
    assert harness.running == [b"k@example.org"]
    [(delivery, _)] = harness.local.orders
    assert delivery.job.serial == -1, "it is read from its file"


def test_what_happens_while_the_files_are_written_is_not_lost(harness: SchedulerHarness) -> None:
    serial = harness.admit(9, BOTH)
    harness.turn()
    harness.report(b"k@example.org", b"Z", b"later")
    harness.turn(1.5)
    harness.worker.eager = False
    harness.written(serial, 9)
    hand_over = harness.worker.begin()
    assert harness.message_store.notices == [("waits", serial)]
    harness.report(b"j@example.org", b"D", b"no\n")
    harness.report(b"r@other.net", b"K")
    hand_over()
    assert harness.message_store.notices[-1] == ("placed", serial)
    assert harness.files(9) == {
        "info": b"Fa@b\0",
        "local": b"Dj@example.org\0Tk@example.org\0",
        "bounce": b"<j@example.org>:\nno\n\n",
    }


def test_a_message_that_ends_while_its_files_are_written_ends_as_an_ordinary_one(harness: SchedulerHarness) -> None:
    serial = harness.admit(9, b"Fa@b\0Tr@other.net\0")
    harness.turn()
    harness.turn(1.5)
    harness.worker.eager = False
    harness.written(serial, 9)
    hand_over = harness.worker.begin()
    harness.report(b"r@other.net", b"K")
    hand_over()
    harness.worker.eager = True
    harness.turn()
    assert harness.message_store.notices == [("waits", serial), ("placed", serial)]
    assert harness.cleaner.requests == [b"foop/9"]
    assert queue_files(harness) == []


def test_a_message_that_ends_before_the_queue_has_answered_needs_no_files_of_ours(harness: SchedulerHarness) -> None:
    serial = harness.admit(9, b"Fa@b\0Tr@other.net\0")
    harness.turn()
    harness.turn(1.5)
    harness.report(b"r@other.net", b"K")
    assert harness.message_store.notices == [("waits", serial), ("finished", serial)]
    harness.written(serial, 9)
    assert queue_files(harness) == ["mess/0/9"], "which the queue removes"
    assert harness.cleaner.requests == []


def test_failures_bounce_from_memory(harness: SchedulerHarness) -> None:
    serial = harness.admit(9, b"Fa@b\0Tj@example.org\0Tx@virt.org\0", b"Subject: long\n\n" + b"y" * 200_000 + b"\n")
    harness.turn()
    harness.report(b"j@example.org", b"D", b"no\n")
    harness.report(b"v-x@virt.org", b"D", b"never\n")
    [(sender, recipient, text)] = harness.injector.bounces
    assert (sender, recipient) == (b"", b"a@b")
    assert b"<j@example.org>:\nno\n\n<x@virt.org>:\nnever\n\n--- Below this line is a copy" in text
    assert text.endswith(b"Return-Path: <a@b>\nSubject: long\n\n" + b"y" * 200_000 + b"\n")
    assert harness.lines()[-2:] == ["bounce msg 9 qp 999", "end msg 9"]
    assert harness.message_store.notices == [("finished", serial)]
    assert queue_files(harness) == []


def test_the_journal_keeps_a_message_until_its_bounce_is_queued(harness: SchedulerHarness) -> None:
    serial = harness.admit(9, b"Fa@b\0Tj@example.org\0")
    harness.turn()
    harness.injector.code = None
    harness.report(b"j@example.org", b"D", b"no\n")
    harness.turn(5)
    assert harness.message_store.notices == []
    harness.injector.pending[0](0, 77)
    assert harness.message_store.notices == [("finished", serial)]


def test_a_bounce_that_cannot_be_queued_goes_to_the_disk(harness: SchedulerHarness) -> None:
    serial = harness.admit(9, b"Fa@b\0Tj@example.org\0")
    harness.turn()
    harness.injector.code = 71
    harness.report(b"j@example.org", b"D", b"no\n")
    harness.written(serial, 9)
    assert harness.files(9) == {"info": b"Fa@b\0", "bounce": b"<j@example.org>:\nno\n\n"}
    harness.injector.code = 0
    harness.turn(122)
    assert len(harness.injector.bounces) == 1
    harness.turn(1)
    assert harness.lines()[-2:] == ["bounce msg 9 qp 999", "end msg 9"]
    assert queue_files(harness) == []


def test_triple_bounces_in_memory_are_discarded(harness: SchedulerHarness) -> None:
    serial = harness.admit(9, b"F#@[]\0Tj@example.org\0")
    harness.turn()
    harness.report(b"j@example.org", b"D", b"no\n")
    assert harness.lines()[-2:] == ["triple bounce: discarding bounce/9", "end msg 9"]
    assert harness.injector.bounces == []
    assert harness.message_store.notices == [("finished", serial)]


def test_a_queue_that_cannot_write_is_asked_again_and_mail_is_retried_from_memory(harness: SchedulerHarness) -> None:
    serial = harness.admit(9, BOTH)
    harness.turn()
    harness.report(b"r@other.net", b"K")
    harness.report(b"j@example.org", b"K")
    harness.report(b"k@example.org", b"Z")
    harness.written(serial, 9, ok=False)
    assert harness.lines()[-1] == "warning: trouble writing to mess/0/9; will try again later"
    for _ in range(9):
        harness.turn(10)
        assert harness.message_store.notices[-1] == ("waits", serial)
        harness.written(serial, 9, ok=False)
    harness.turn(9.5)
    harness.turn(0.6)  # now 100 s after birth: asked again, and refused again
    harness.written(serial, 9, ok=False)
    harness.turn(0.5)
    assert harness.running == [b"k@example.org"]
    [(delivery, _)] = harness.local.orders
    assert (delivery.recipient_index, delivery.offset) == (2, len(b"Tj@example.org\0"))
    harness.report(b"k@example.org", b"K")
    assert harness.message_store.notices[-1] == ("finished", serial)
    assert queue_files(harness) == []


def test_our_own_full_disk_keeps_the_message_in_memory(harness: SchedulerHarness) -> None:
    serial = harness.admit(9, b"Fa@b\0Tj@example.org\0")
    harness.turn()
    harness.report(b"j@example.org", b"Z")
    folder = os.path.dirname(harness.paths.info(9))
    os.rename(folder, folder + "x")
    harness.written(serial, 9)
    assert "info/0/9" in harness.lines()[-1]
    assert ("placed", serial) not in harness.message_store.notices
    os.rename(folder + "x", folder)
    harness.turn(5)
    assert ("placed", serial) not in harness.message_store.notices
    harness.turn(5.5)
    assert harness.message_store.notices[-1] == ("placed", serial)
    assert harness.message_store.notices.count(("waits", serial)) == 1
    assert harness.files(9) == {"info": b"Fa@b\0", "local": b"Tj@example.org\0"}
    assert harness.due_of(LOCAL, 9) == [100 - int(harness.now - NOW)]


def test_a_message_without_its_descriptor_goes_to_the_disk_first(harness: SchedulerHarness) -> None:
    serial = harness.admit(9, b"Fa@b\0Tj@example.org\0", with_fd=False)
    harness.turn()
    assert harness.running == []
    harness.written(serial, 9)
    harness.turn()
    assert harness.running == [b"j@example.org"]


def test_messages_beyond_the_limit_go_to_the_disk(harness: SchedulerHarness) -> None:
    harness.local.open = False
    for number in range(103):
        harness.admit(number, b"Fa@b\0Tj@example.org\0")
    assert harness.message_store.notices == [("waits", 101), ("waits", 102), ("waits", 103)]


def test_a_message_that_is_admitted_twice_is_delivered_once(harness: SchedulerHarness) -> None:
    harness.admit(9, b"Fa@b\0Tj@example.org\0")
    harness._serial -= 1
    harness.admit(9, b"Fa@b\0Tj@example.org\0")
    harness.turn()
    assert harness.running == [b"j@example.org"]


def test_at_the_end_everything_goes_to_the_disk(harness: SchedulerHarness) -> None:
    running = harness.admit(8, b"Fa@b\0Tj@example.org\0")
    harness.turn()
    harness.scheduler.exiting = True
    harness.spilling.exit()
    late = harness.admit(9, b"Fa@b\0Tk@example.org\0Tr@other.net\0")
    harness.turn()
    assert harness.running == [b"j@example.org"]
    harness.written(running, 8)
    harness.written(late, 9)
    harness.report(b"j@example.org", b"Z")
    assert harness.held.messages == {}
    assert harness.due_of(LOCAL, 8) == [100]
    assert harness.due_of(LOCAL, 9) == harness.due_of(REMOTE, 9) == [0]
    assert harness.files(9) == {"info": b"Fa@b\0", "local": b"Tk@example.org\0", "remote": b"Tr@other.net\0"}


def test_new_mail_and_old_mail_take_turns(tmp_path: Path) -> None:
    harness = SchedulerHarness(tmp_path, limits=(1, 1))
    for number in (21, 22):
        harness.old(number, b"a@b", due_s=-100, local=b"Told%d@example.org\0" % number)
    harness.scanner.find_old(NOW)
    for number in (31, 32):
        harness.admit(number, b"Fa@b\0Tnew%d@example.org\0" % number)
    seen = []
    for _ in range(4):
        harness.turn()
        [recipient] = harness.running
        seen.append(recipient[:3])
        harness.report(recipient, b"K")
    assert seen in ([b"new", b"old"] * 2, [b"old", b"new"] * 2)


def test_questions_that_were_not_answered_are_asked_again_on_a_new_connection(harness: SchedulerHarness) -> None:
    serial = harness.admit(9, b"Fa@b\0Tj@example.org\0")
    harness.admit(8, b"Fa@b\0Tk@example.org\0")
    harness.turn()
    harness.report(b"j@example.org", b"Z")
    harness.spilling.resend_requests()
    assert harness.message_store.notices == [("waits", serial)] * 2


def placed_before(harness: SchedulerHarness, number: int, serial: int, **lists: bytes) -> None:
    """A message that was placed by a scheduler that has died, and is still in the journal."""
    harness.old(number, b"a@b", **lists)
    born = MessageIdentity.accepted(9, int(harness.now), serial).born_ns
    os.utime(harness.paths.info(number), ns=(born, born))


def test_a_message_that_was_placed_before_a_crash_goes_on_from_its_files(harness: SchedulerHarness) -> None:
    placed_before(harness, 9, serial=1, remote=b"Tr@other.net\0", local=b"Tj@example.org\0")
    harness.scanner.find_old(NOW)
    serial = harness.admit(9, BOTH)
    assert harness.message_store.notices == [("placed", serial)]
    assert harness.held.messages == {}
    harness.turn()
    assert sorted(harness.running) == [b"j@example.org", b"r@other.net"], "k has it already, and nobody gets it twice"


def test_a_placed_message_that_has_ended_is_not_taken_up_again(harness: SchedulerHarness) -> None:
    placed_before(harness, 9, serial=1, local=b"Tj@example.org\0")
    harness.scanner.find_old(NOW)
    harness.cleaner.answer = b"!"
    harness.turn()
    harness.report(b"j@example.org", b"K")
    harness.turn()
    assert queue_files(harness) == ["mess/0/9"]
    serial = harness.admit(9, BOTH)
    assert harness.message_store.notices == [("finished", serial)]
    assert harness.held.messages == {}
    other = harness.admit(9, b"Fa@b\0Tk@example.org\0")
    assert list(harness.held.messages) == [other], "the next message with that number is another"


def test_files_of_an_earlier_message_never_get_the_next_one_with_its_number(harness: SchedulerHarness) -> None:
    harness.old(9, b"ghost@b", age_s=10, local=b"Tghost@example.org\0")
    harness.scanner.find_old(NOW)
    Path(harness.paths.bounce(9)).write_bytes(b"<x@y>:\nno\n\n")
    harness.admit(9, b"Fa@b\0Tj@example.org\0")
    harness.turn()
    assert harness.running == [b"j@example.org"]
    assert harness.files(9) == {}
    assert "alert: info/0/9 was left by an earlier message with this number: removed" in harness.lines()


def test_a_failed_placement_is_not_complete_while_it_is_tried_again(
    harness: SchedulerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a crash between the lists and info/N of the second try would leave a message without recipients."""
    serial = harness.admit(9, b"Fa@b\0Tr@other.net\0")
    harness.turn()
    real_fsync, real_unlink, seen = os.fsync, os.unlink, list[bool]()

    def full(fd: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}").endswith("/info/0"):
            raise OSError(errno.ENOSPC, "full")
        real_fsync(fd)

    def look(path: str) -> None:
        if path == harness.paths.channel("remote", 9):
            seen.append(os.path.exists(harness.paths.info(9)))
        real_unlink(path)

    harness.report(b"r@other.net", b"Z")
    monkeypatch.setattr(os, "fsync", full)
    harness.written(serial, 9)
    assert ("placed", serial) not in harness.message_store.notices
    monkeypatch.setattr(os, "fsync", real_fsync)
    monkeypatch.setattr(os, "unlink", look)
    harness.turn(11)
    assert seen == [False]
    assert ("placed", serial) in harness.message_store.notices


def test_long_reports_on_many_recipients_send_the_message_to_the_disk(tmp_path: Path) -> None:
    harness = SchedulerHarness(tmp_path, limits=(100, 0))
    serial = harness.admit(9, b"Fa@b\0" + b"".join(b"Tj%d@example.org\0" % count for count in range(60)))
    harness.turn()
    for delivery, _ in list(harness.local.orders)[:40]:
        harness.report(delivery.recipient, b"D", b"n" * 9000)
    assert harness.message_store.notices == [("waits", serial)]
    harness.written(serial, 9)
    assert harness.files(9)["bounce"].count(b">:\n") == 40
    harness.report(b"j50@example.org", b"D", b"no\n")
    assert harness.files(9)["bounce"].endswith(b"<j50@example.org>:\nno\n\n")


def test_a_failure_of_the_last_moment_that_cannot_be_noted_is_tried_again(
    harness: SchedulerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    serial = harness.admit(9, b"Fa@b\0Tj@example.org\0")
    harness.turn()
    harness.turn(1.5)
    harness.worker.eager = False
    harness.written(serial, 9)
    hand_over = harness.worker.begin()
    harness.report(b"j@example.org", b"D", b"no\n")
    os.rmdir(f"{harness.paths.root}/bounce")
    hand_over()
    assert harness.files(9)["local"] == b"Tj@example.org\0"
    assert any(line.startswith("alert: unable to append to bounce message") for line in harness.lines())
    os.mkdir(f"{harness.paths.root}/bounce")
    harness.worker.eager = True
    harness.turn(200)
    assert harness.running == [b"j@example.org"]
    assert harness.due_of(LOCAL, 9) == []


def test_the_file_of_a_message_in_memory_is_never_taken_for_an_abandoned_one(harness: SchedulerHarness) -> None:
    """mess/9 may be there, and old, before info/9 is: the journal has counted on it since a crash."""
    harness.admit(9, BOTH)
    harness.message(9)
    old = harness.now - 2 * ABANDONED_S
    os.utime(harness.paths.mess(9), (old, old))
    harness.message(12)
    os.utime(harness.paths.mess(12), (old, old))
    harness.turn(SWEEP_S + 1)
    harness.turn()
    assert harness.cleaner.requests == [b"foop/12"]
    assert os.path.exists(harness.paths.mess(9))
