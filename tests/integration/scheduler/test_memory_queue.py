"""Messages in memory: delivered without a file, or written to the disk in time and whole."""

import errno
import os
from pathlib import Path

import pytest

from eqmail_core.queue.format.channels import next_retry
from eqmail_core.queue.format.info import born_ns, mark_of
from tests.support.scheduler_harness import LOCAL, NOW, REMOTE, Stage

BOTH = b"Fa@b\0Tj@example.org\0Tr@other.net\0Tk@example.org\0"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def queue_files(stage: Stage) -> list[str]:
    return sorted(
        str(path.relative_to(stage.paths.root)) for path in Path(stage.paths.root).rglob("*") if path.is_file()
    )


def test_a_message_that_is_delivered_at_once_never_touches_the_disk(stage: Stage) -> None:
    serial = stage.admit(9, BOTH)
    stage.turn()
    places = {order[0].recipient: order[0].recipient_index for order in (*stage.local.orders, *stage.remote.orders)}
    assert places == {b"j@example.org": 0, b"r@other.net": 1, b"k@example.org": 2}
    for recipient in (b"k@example.org", b"r@other.net", b"j@example.org"):
        assert stage.keeper.told == []
        stage.report(recipient, b"K", b"ok\n")
    assert stage.keeper.told == [("finished", serial)]
    assert stage.lines()[:2] == ["new msg 9", "info msg 9: bytes 17 from <a@b> qp 42 uid 7"]
    assert queue_files(stage) == []
    assert stage.held.messages == {}
    assert not stage.held.is_held(9)


def test_a_message_without_recipients_is_finished_at_once(stage: Stage) -> None:
    serial = stage.admit(9, b"Fa@b\0")
    assert stage.keeper.told == [("finished", serial)]
    assert stage.lines()[-1] == "end msg 9"


def test_a_success_must_be_durable_before_the_journal_forgets(stage: Stage) -> None:
    serial = stage.admit(9, b"Fa@b\0Tj@example.org\0")
    stage.turn()
    delivery = stage.report(b"j@example.org", b"K", durable=False)
    stage.turn()
    assert stage.keeper.told == []
    stage.scheduler.mark_durable(delivery)
    assert stage.keeper.told == [("finished", serial)]


def test_a_deferred_recipient_sends_the_message_to_the_disk(stage: Stage) -> None:
    serial = stage.admit(9, BOTH)
    stage.turn()
    stage.report(b"j@example.org", b"K")
    stage.report(b"k@example.org", b"Z", b"later")
    assert stage.keeper.told == [("waits", serial)]
    stage.written(serial, 9)
    assert stage.keeper.told == [("waits", serial), ("placed", serial)]
    assert stage.files(9) == {
        "info": b"Fa@b\0",
        "local": b"Dj@example.org\0Tk@example.org\0",
        "remote": b"Tr@other.net\0",
    }
    assert os.stat(stage.paths.info(9)).st_mtime == NOW
    assert os.stat(stage.paths.channel("local", 9)).st_mtime == next_retry(NOW, NOW, LOCAL)
    assert {os.stat(path).st_mode & 0o777 for path in (stage.paths.info(9), stage.paths.channel("local", 9))} == {0o600}
    assert stage.due_of(LOCAL, 9) == [100]
    assert stage.held.messages == {}

    # the delivery that was running goes on, and its report is written on the disk
    stage.report(b"r@other.net", b"K")
    assert "remote" not in stage.files(9)
    stage.turn(100)
    stage.report(b"k@example.org", b"K")
    stage.turn()
    assert stage.lines()[-1] == "end msg 9"
    assert queue_files(stage) == []
    assert stage.keeper.told[-1] == ("placed", serial)


def test_an_attempt_that_takes_longer_than_a_second_sends_the_message_to_the_disk(stage: Stage) -> None:
    serial = stage.admit(9, b"Fa@b\0Tr@other.net\0")
    stage.turn()
    stage.turn(0.9)
    assert stage.keeper.told == []
    stage.turn(0.6)
    assert stage.keeper.told == [("waits", serial)]
    stage.written(serial, 9)
    assert stage.files(9) == {"info": b"Fa@b\0", "remote": b"Tr@other.net\0"}
    stage.report(b"r@other.net", b"K")
    stage.turn()
    assert queue_files(stage) == []


def test_a_message_that_waits_for_its_turn_stays_longer_and_is_then_queued_as_any_other(tmp_path: Path) -> None:
    stage = Stage(tmp_path, limits=(1, 0))
    first = stage.admit(8, b"Fa@b\0Tj@example.org\0")
    second = stage.admit(9, b"Fa@b\0Tk@example.org\0")
    stage.turn()
    stage.turn(2)
    assert stage.keeper.told == [("waits", first)]
    stage.turn(9)
    assert stage.keeper.told[-1] == ("waits", second)
    stage.written(second, 9)
    stage.report(b"j@example.org", b"K")
    stage.turn()
    assert stage.running == [b"k@example.org"]
    [(delivery, _)] = stage.local.orders
    assert delivery.job.serial == -1, "it is read from its file"


def test_what_happens_while_the_files_are_written_is_not_lost(stage: Stage) -> None:
    serial = stage.admit(9, BOTH)
    stage.turn()
    stage.report(b"k@example.org", b"Z", b"later")
    stage.turn(1.5)
    stage.worker.eager = False
    stage.written(serial, 9)
    hand_over = stage.worker.begin()
    assert stage.keeper.told == [("waits", serial)]
    stage.report(b"j@example.org", b"D", b"no\n")
    stage.report(b"r@other.net", b"K")
    hand_over()
    assert stage.keeper.told[-1] == ("placed", serial)
    assert stage.files(9) == {
        "info": b"Fa@b\0",
        "local": b"Dj@example.org\0Tk@example.org\0",
        "bounce": b"<j@example.org>:\nno\n\n",
    }


def test_a_message_that_ends_while_its_files_are_written_ends_as_an_ordinary_one(stage: Stage) -> None:
    serial = stage.admit(9, b"Fa@b\0Tr@other.net\0")
    stage.turn()
    stage.turn(1.5)
    stage.worker.eager = False
    stage.written(serial, 9)
    hand_over = stage.worker.begin()
    stage.report(b"r@other.net", b"K")
    hand_over()
    stage.worker.eager = True
    stage.turn()
    assert stage.keeper.told == [("waits", serial), ("placed", serial)]
    assert stage.cleaner.requests == [b"foop/9"]
    assert queue_files(stage) == []


def test_a_message_that_ends_before_the_queue_has_answered_needs_no_files_of_ours(stage: Stage) -> None:
    serial = stage.admit(9, b"Fa@b\0Tr@other.net\0")
    stage.turn()
    stage.turn(1.5)
    stage.report(b"r@other.net", b"K")
    assert stage.keeper.told == [("waits", serial), ("finished", serial)]
    stage.written(serial, 9)
    assert queue_files(stage) == ["mess/0/9"], "which the queue removes"
    assert stage.cleaner.requests == []


def test_failures_bounce_from_memory(stage: Stage) -> None:
    serial = stage.admit(9, b"Fa@b\0Tj@example.org\0Tx@virt.org\0", b"Subject: long\n\n" + b"y" * 200_000 + b"\n")
    stage.turn()
    stage.report(b"j@example.org", b"D", b"no\n")
    stage.report(b"v-x@virt.org", b"D", b"never\n")
    [(sender, recipient, text)] = stage.injector.bounces
    assert (sender, recipient) == (b"", b"a@b")
    assert b"<j@example.org>:\nno\n\n<x@virt.org>:\nnever\n\n--- Below this line is a copy" in text
    assert text.endswith(b"Return-Path: <a@b>\nSubject: long\n\n" + b"y" * 200_000 + b"\n")
    assert stage.lines()[-2:] == ["bounce msg 9 qp 999", "end msg 9"]
    assert stage.keeper.told == [("finished", serial)]
    assert queue_files(stage) == []


def test_the_journal_keeps_a_message_until_its_bounce_is_queued(stage: Stage) -> None:
    serial = stage.admit(9, b"Fa@b\0Tj@example.org\0")
    stage.turn()
    stage.injector.code = None
    stage.report(b"j@example.org", b"D", b"no\n")
    stage.turn(5)
    assert stage.keeper.told == []
    stage.injector.pending[0](0, 77)
    assert stage.keeper.told == [("finished", serial)]


def test_a_bounce_that_cannot_be_queued_goes_to_the_disk(stage: Stage) -> None:
    serial = stage.admit(9, b"Fa@b\0Tj@example.org\0")
    stage.turn()
    stage.injector.code = 71
    stage.report(b"j@example.org", b"D", b"no\n")
    stage.written(serial, 9)
    assert stage.files(9) == {"info": b"Fa@b\0", "bounce": b"<j@example.org>:\nno\n\n"}
    stage.injector.code = 0
    stage.turn(122)
    assert len(stage.injector.bounces) == 1
    stage.turn(1)
    assert stage.lines()[-2:] == ["bounce msg 9 qp 999", "end msg 9"]
    assert queue_files(stage) == []


def test_triple_bounces_in_memory_are_discarded(stage: Stage) -> None:
    serial = stage.admit(9, b"F#@[]\0Tj@example.org\0")
    stage.turn()
    stage.report(b"j@example.org", b"D", b"no\n")
    assert stage.lines()[-2:] == ["triple bounce: discarding bounce/9", "end msg 9"]
    assert stage.injector.bounces == []
    assert stage.keeper.told == [("finished", serial)]


def test_a_queue_that_cannot_write_is_asked_again_and_mail_is_retried_from_memory(stage: Stage) -> None:
    serial = stage.admit(9, BOTH)
    stage.turn()
    stage.report(b"r@other.net", b"K")
    stage.report(b"j@example.org", b"K")
    stage.report(b"k@example.org", b"Z")
    stage.written(serial, 9, ok=False)
    assert stage.lines()[-1] == "warning: trouble writing to mess/0/9; will try again later"
    for _ in range(9):
        stage.turn(10)
        assert stage.keeper.told[-1] == ("waits", serial)
        stage.written(serial, 9, ok=False)
    stage.turn(9.5)
    stage.turn(0.6)  # now 100 s after birth: asked again, and refused again
    stage.written(serial, 9, ok=False)
    stage.turn(0.5)
    assert stage.running == [b"k@example.org"]
    [(delivery, _)] = stage.local.orders
    assert (delivery.recipient_index, delivery.offset) == (2, len(b"Tj@example.org\0"))
    stage.report(b"k@example.org", b"K")
    assert stage.keeper.told[-1] == ("finished", serial)
    assert queue_files(stage) == []


def test_our_own_full_disk_keeps_the_message_in_memory(stage: Stage) -> None:
    serial = stage.admit(9, b"Fa@b\0Tj@example.org\0")
    stage.turn()
    stage.report(b"j@example.org", b"Z")
    folder = os.path.dirname(stage.paths.info(9))
    os.rename(folder, folder + "x")
    stage.written(serial, 9)
    assert "info/0/9" in stage.lines()[-1]
    assert ("placed", serial) not in stage.keeper.told
    os.rename(folder + "x", folder)
    stage.turn(5)
    assert ("placed", serial) not in stage.keeper.told
    stage.turn(5.5)
    assert stage.keeper.told[-1] == ("placed", serial)
    assert stage.keeper.told.count(("waits", serial)) == 1
    assert stage.files(9) == {"info": b"Fa@b\0", "local": b"Tj@example.org\0"}
    assert stage.due_of(LOCAL, 9) == [100 - int(stage.now - NOW)]


def test_a_message_without_its_descriptor_goes_to_the_disk_first(stage: Stage) -> None:
    serial = stage.admit(9, b"Fa@b\0Tj@example.org\0", with_fd=False)
    stage.turn()
    assert stage.running == []
    stage.written(serial, 9)
    stage.turn()
    assert stage.running == [b"j@example.org"]


def test_messages_beyond_the_limit_go_to_the_disk(stage: Stage) -> None:
    stage.local.open = False
    for number in range(103):
        stage.admit(number, b"Fa@b\0Tj@example.org\0")
    assert stage.keeper.told == [("waits", 101), ("waits", 102), ("waits", 103)]


def test_a_message_that_is_admitted_twice_is_delivered_once(stage: Stage) -> None:
    stage.admit(9, b"Fa@b\0Tj@example.org\0")
    stage._serial -= 1
    stage.admit(9, b"Fa@b\0Tj@example.org\0")
    stage.turn()
    assert stage.running == [b"j@example.org"]


def test_at_the_end_everything_goes_to_the_disk(stage: Stage) -> None:
    running = stage.admit(8, b"Fa@b\0Tj@example.org\0")
    stage.turn()
    stage.scheduler.exiting = True
    stage.spilling.exit()
    late = stage.admit(9, b"Fa@b\0Tk@example.org\0Tr@other.net\0")
    stage.turn()
    assert stage.running == [b"j@example.org"]
    stage.written(running, 8)
    stage.written(late, 9)
    stage.report(b"j@example.org", b"Z")
    assert stage.held.messages == {}
    assert stage.due_of(LOCAL, 8) == [100]
    assert stage.due_of(LOCAL, 9) == stage.due_of(REMOTE, 9) == [0]
    assert stage.files(9) == {"info": b"Fa@b\0", "local": b"Tk@example.org\0", "remote": b"Tr@other.net\0"}


def test_new_mail_and_old_mail_take_turns(tmp_path: Path) -> None:
    stage = Stage(tmp_path, limits=(1, 1))
    for number in (21, 22):
        stage.old(number, b"a@b", due_s=-100, local=b"Told%d@example.org\0" % number)
    stage.arrivals.find_old(NOW)
    for number in (31, 32):
        stage.admit(number, b"Fa@b\0Tnew%d@example.org\0" % number)
    seen = []
    for _ in range(4):
        stage.turn()
        [recipient] = stage.running
        seen.append(recipient[:3])
        stage.report(recipient, b"K")
    assert seen in ([b"new", b"old"] * 2, [b"old", b"new"] * 2)


def test_questions_that_were_not_answered_are_asked_again_on_a_new_connection(stage: Stage) -> None:
    serial = stage.admit(9, b"Fa@b\0Tj@example.org\0")
    stage.admit(8, b"Fa@b\0Tk@example.org\0")
    stage.turn()
    stage.report(b"j@example.org", b"Z")
    stage.spilling.resend_requests()
    assert stage.keeper.told == [("waits", serial)] * 2


def placed_before(stage: Stage, number: int, serial: int, **lists: bytes) -> None:
    """A message that was placed by a scheduler that has died, and is still in the journal."""
    stage.old(number, b"a@b", **lists)
    born = born_ns(int(stage.now), mark_of(serial))
    os.utime(stage.paths.info(number), ns=(born, born))


def test_a_message_that_was_placed_before_a_crash_goes_on_from_its_files(stage: Stage) -> None:
    placed_before(stage, 9, serial=1, remote=b"Tr@other.net\0", local=b"Tj@example.org\0")
    stage.arrivals.find_old(NOW)
    serial = stage.admit(9, BOTH)
    assert stage.keeper.told == [("placed", serial)]
    assert stage.held.messages == {}
    stage.turn()
    assert sorted(stage.running) == [b"j@example.org", b"r@other.net"], "k has it already, and nobody gets it twice"


def test_a_placed_message_that_has_ended_is_not_taken_up_again(stage: Stage) -> None:
    placed_before(stage, 9, serial=1, local=b"Tj@example.org\0")
    stage.arrivals.find_old(NOW)
    stage.cleaner.answer = b"!"
    stage.turn()
    stage.report(b"j@example.org", b"K")
    stage.turn()
    assert queue_files(stage) == ["mess/0/9"]
    serial = stage.admit(9, BOTH)
    assert stage.keeper.told == [("finished", serial)]
    assert stage.held.messages == {}
    other = stage.admit(9, b"Fa@b\0Tk@example.org\0")
    assert list(stage.held.messages) == [other], "the next message with that number is another"


def test_files_of_an_earlier_message_never_get_the_next_one_with_its_number(stage: Stage) -> None:
    stage.old(9, b"ghost@b", age_s=10, local=b"Tghost@example.org\0")
    stage.arrivals.find_old(NOW)
    Path(stage.paths.bounce(9)).write_bytes(b"<x@y>:\nno\n\n")
    stage.admit(9, b"Fa@b\0Tj@example.org\0")
    stage.turn()
    assert stage.running == [b"j@example.org"]
    assert stage.files(9) == {}
    assert "alert: info/0/9 was left by an earlier message with this number: removed" in stage.lines()


def test_a_failed_placement_is_not_complete_while_it_is_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a crash between the lists and info/N of the second try would leave a message without recipients."""
    serial = stage.admit(9, b"Fa@b\0Tr@other.net\0")
    stage.turn()
    real_fsync, real_unlink, seen = os.fsync, os.unlink, list[bool]()

    def full(fd: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}").endswith("/info/0"):
            raise OSError(errno.ENOSPC, "full")
        real_fsync(fd)

    def look(path: str) -> None:
        if path == stage.paths.channel("remote", 9):
            seen.append(os.path.exists(stage.paths.info(9)))
        real_unlink(path)

    stage.report(b"r@other.net", b"Z")
    monkeypatch.setattr(os, "fsync", full)
    stage.written(serial, 9)
    assert ("placed", serial) not in stage.keeper.told
    monkeypatch.setattr(os, "fsync", real_fsync)
    monkeypatch.setattr(os, "unlink", look)
    stage.turn(11)
    assert seen == [False]
    assert ("placed", serial) in stage.keeper.told


def test_long_reports_on_many_recipients_send_the_message_to_the_disk(tmp_path: Path) -> None:
    stage = Stage(tmp_path, limits=(100, 0))
    serial = stage.admit(9, b"Fa@b\0" + b"".join(b"Tj%d@example.org\0" % count for count in range(60)))
    stage.turn()
    for delivery, _ in list(stage.local.orders)[:40]:
        stage.report(delivery.recipient, b"D", b"n" * 9000)
    assert stage.keeper.told == [("waits", serial)]
    stage.written(serial, 9)
    assert stage.files(9)["bounce"].count(b">:\n") == 40
    stage.report(b"j50@example.org", b"D", b"no\n")
    assert stage.files(9)["bounce"].endswith(b"<j50@example.org>:\nno\n\n")


def test_a_failure_of_the_last_moment_that_cannot_be_noted_is_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    serial = stage.admit(9, b"Fa@b\0Tj@example.org\0")
    stage.turn()
    stage.turn(1.5)
    stage.worker.eager = False
    stage.written(serial, 9)
    hand_over = stage.worker.begin()
    stage.report(b"j@example.org", b"D", b"no\n")
    os.rmdir(f"{stage.paths.root}/bounce")
    hand_over()
    assert stage.files(9)["local"] == b"Tj@example.org\0"
    assert any(line.startswith("alert: unable to append to bounce message") for line in stage.lines())
    os.mkdir(f"{stage.paths.root}/bounce")
    stage.worker.eager = True
    stage.turn(200)
    assert stage.running == [b"j@example.org"]
    assert stage.due_of(LOCAL, 9) == []
