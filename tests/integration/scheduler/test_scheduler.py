"""The scheduler with messages on the disk: arrivals, attempts, marks, endings."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from eqmail_core.outcome import DeliveryResult
from eqmail_core.queue.format.channels import HELD_UNTIL
from eqmail_core.scheduler.ports import SYSTEM_ERROR_PAUSE_S
from eqmail_core.scheduler.queue_scanner import TODO_SCAN_S
from tests.support.scheduler_harness import LOCAL, NOW, REMOTE, SchedulerHarness


@pytest.fixture
def harness(tmp_path: Path) -> SchedulerHarness:
    return SchedulerHarness(tmp_path)


def test_a_message_from_todo_is_delivered_and_leaves_nothing(harness: SchedulerHarness) -> None:
    harness.todo(5, b"Fa@b\0Tjoe@example.org\0Trem@other.net\0")
    harness.turn()
    assert harness.files(5) == {"info": b"Fa@b\0", "local": b"Tjoe@example.org\0", "remote": b"Trem@other.net\0"}
    assert [os.stat(harness.paths.channel(name, 5)).st_mode & 0o777 for name in ("local", "remote")] == [0o600, 0o600]
    harness.report(b"joe@example.org", b"K", b"ok\n")
    harness.report(b"rem@other.net", b"K")
    harness.turn()
    assert harness.lines() == [
        "new msg 5",
        "info msg 5: bytes 17 from <a@b> qp 42 uid 7",
        "starting delivery 1: msg 5 to local joe@example.org",
        "starting delivery 2: msg 5 to remote rem@other.net",
        "delivery 1: success: ok/",
        "delivery 2: success: ",
        "end msg 5",
    ]
    assert harness.files(5) == {}
    assert harness.cleaner.requests == [b"todo/2/5", b"foop/5"]
    assert not os.path.exists(harness.paths.mess(5))


def test_garbage_of_an_interrupted_start_is_replaced(harness: SchedulerHarness) -> None:
    harness.old(5, b"garbage", local=b"Tx@y\0", remote=b"Tx@z\0")
    harness.todo(5, b"Fa@b\0Tjoe@example.org\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    assert harness.files(5) == {"info": b"Fa@b\0", "local": b"Tjoe@example.org\0"}
    assert harness.running == [b"joe@example.org"]


def test_an_unknown_record_is_left_in_todo(harness: SchedulerHarness) -> None:
    harness.todo(5, b"Fa@b\0Xjoe@example.org\0")
    harness.turn()
    assert harness.lines()[-1] == "warning: unknown record type in todo/2/5"
    assert set(harness.files(5)) == {"todo", "info"}
    assert harness.cleaner.requests == []


def test_a_cleaner_that_died_after_its_work_delays_nothing(
    harness: SchedulerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request was carried out and the answer lost: todo/N is gone, so nothing would ever find the message again."""

    def die(name: bytes, then: Callable[[bytes], None]) -> None:
        os.unlink(harness.paths.todo(5))
        then(b"!")

    monkeypatch.setattr(harness.cleaner, "clean", die)
    harness.todo(5, b"Fa@b\0Tjoe@example.org\0")
    harness.turn()
    assert "warning: qmail-clean unable to clean up todo/2/5" in harness.lines()
    assert harness.running == [b"joe@example.org"]


def test_a_cleaner_that_did_nothing_is_asked_again(harness: SchedulerHarness) -> None:
    harness.cleaner.answer = b"!"
    harness.todo(5, b"Fa@b\0Tjoe@example.org\0")
    harness.turn()
    assert harness.running == []
    harness.cleaner.answer = b"+"
    harness.turn(130)
    assert harness.running == [b"joe@example.org"]


def cleaned_later(harness: SchedulerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message whose cleaner does its work after the connection has ended, as a slow disk has it."""
    monkeypatch.setattr(harness.cleaner, "clean", lambda name, then: then(b"!"))
    harness.todo(5, b"Fa@b\0Tjoe@example.org\0")
    harness.turn()
    assert harness.running == []
    monkeypatch.undo()


def test_a_cleaner_that_does_its_work_late_delays_nothing_for_long(
    harness: SchedulerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned_later(harness, monkeypatch)
    os.unlink(harness.paths.todo(5))
    harness.turn(130)
    assert harness.running == [b"joe@example.org"]
    harness.turn(300)
    assert harness.running == [b"joe@example.org"], "and once"


def test_todo_that_goes_away_while_it_is_searched_delays_nothing_for_long(
    harness: SchedulerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned_later(harness, monkeypatch)
    harness.worker.eager = False
    harness.scanner.triggered()
    while not harness.worker.work:
        harness.scanner.pump(NOW)
    os.unlink(harness.paths.todo(5))
    harness.worker.begin()()
    harness.worker.eager = True
    harness.turn(130)
    assert harness.running == [b"joe@example.org"]


@pytest.mark.parametrize("again", [1, 130], ids=["at once", "at the time it is looked at again"])
def test_a_message_that_is_preprocessed_again_is_tried_once(
    harness: SchedulerHarness, monkeypatch: pytest.MonkeyPatch, again: int
) -> None:
    cleaned_later(harness, monkeypatch)
    harness.scanner.triggered()
    harness.turn(again)
    assert harness.running == [b"joe@example.org"]
    harness.turn(400)
    assert harness.running == [b"joe@example.org"]
    assert harness.due_of(LOCAL, 5) == []


def test_a_request_of_an_earlier_scheduler_that_is_done_after_the_start_delays_nothing_for_long(
    harness: SchedulerHarness,
) -> None:
    harness.old(5, b"Fa@b\0", local=b"Tjoe@example.org\0")
    harness.todo(5, b"Fa@b\0Tjoe@example.org\0")
    harness.scanner.find_old(NOW)
    os.unlink(harness.paths.todo(5))
    harness.turn()
    assert harness.running == []
    harness.turn(130)
    assert harness.running == [b"joe@example.org"]


def test_a_message_without_recipients_ends_at_once(harness: SchedulerHarness) -> None:
    harness.todo(5, b"Fa@b\0")
    harness.turn()
    assert harness.lines()[-1] == "end msg 5"


def test_a_deferred_recipient_waits_while_others_are_marked_done(harness: SchedulerHarness) -> None:
    harness.todo(5, b"Fa@b\0Tj@example.org\0Tk@example.org\0")
    harness.turn()
    harness.report(b"j@example.org", b"Z", b"later\n")
    harness.report(b"k@example.org", b"K")
    harness.turn()
    assert harness.files(5)["local"] == b"Tj@example.org\0Dk@example.org\0"
    assert harness.running == []
    assert harness.due_of(LOCAL, 5) == [100], "its birth is by the real clock, in the future of the stage's"


def test_the_next_attempt_skips_finished_recipients_and_follows_the_schedule(harness: SchedulerHarness) -> None:
    harness.old(7, b"a@b", age_s=500, due_s=-1, remote=b"Dx@other.net\0Ty@other.net\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    assert harness.running == [b"y@other.net"]
    harness.report(b"y@other.net", b"Z")
    harness.turn()
    # isqrt(500) is 22: the next attempt is due 42 squared seconds after birth
    assert harness.due_of(REMOTE, 7) == [42 * 42 - 500]
    harness.turn(42 * 42 - 501)
    assert harness.running == []
    harness.turn(1)
    assert harness.running == [b"y@other.net"]


def test_a_mangled_report_defers(harness: SchedulerHarness) -> None:
    harness.old(7, b"a@b", local=b"Tj@example.org\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    harness.report(b"j@example.org", b"X", b"what")
    assert harness.lines()[-1] == "delivery 1: report mangled, will defer"
    assert harness.files(7)["local"] == b"Tj@example.org\0"
    assert harness.due_of(LOCAL, 7) == [100]


def test_a_deferral_of_a_message_that_is_too_old_bounces(tmp_path: Path) -> None:
    harness = SchedulerHarness(tmp_path, lifetime_s=5000)
    harness.old(7, b"a@b", age_s=5001, remote=b"Tr@other.net\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    harness.report(b"r@other.net", b"Z", b"not yet\n")
    harness.turn()
    [(sender, recipient, text)] = harness.injector.bounces
    assert (sender, recipient) == (b"", b"a@b")
    notices = b"not yet\nI'm not going to try again; this message has been in the queue too long.\n\n---"
    assert b"<r@other.net>:\n" + notices in text
    assert text.endswith(b"\nReturn-Path: <a@b>\nSubject: x\n\nbody\n")
    assert harness.lines()[-2:] == ["bounce msg 7 qp 999", "end msg 7"]


def test_a_bounce_shows_virtual_recipients_as_their_sender_knows_them(harness: SchedulerHarness) -> None:
    harness.todo(5, b"Fa@b\0Tx@virt.org\0")
    harness.turn()
    harness.report(b"v-x@virt.org", b"D", b"unknown")
    assert harness.files(5)["bounce"] == b"<x@virt.org>:\nunknown\n\n"
    assert os.stat(harness.paths.bounce(5)).st_mode & 0o777 == 0o600


def test_a_failed_bounce_becomes_a_double_bounce_and_that_is_discarded(harness: SchedulerHarness) -> None:
    harness.old(7, b"", local=b"Tj@example.org\0")
    harness.old(8, b"#@[]", local=b"Tk@example.org\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    harness.report(b"j@example.org", b"D", b"bad\n")
    harness.report(b"k@example.org", b"D", b"bad\n")
    harness.turn()
    assert [bounce[:2] for bounce in harness.injector.bounces] == [(b"#@[]", b"postmaster@me.org")]
    assert harness.lines()[-4:] == [
        "bounce msg 7 qp 999",
        "end msg 7",
        "triple bounce: discarding bounce/8",
        "end msg 8",
    ]
    assert harness.files(7) == harness.files(8) == {}


def test_a_bounce_that_cannot_be_injected_is_tried_again(harness: SchedulerHarness) -> None:
    harness.old(7, b"a@b", local=b"Tj@example.org\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    harness.injector.code = 53
    harness.report(b"j@example.org", b"D", b"bad\n")
    harness.turn()
    assert harness.lines()[-1] == "warning: trouble injecting bounce message, will try later"
    assert set(harness.files(7)) == {"info", "bounce"}
    harness.injector.code = 0
    harness.turn(122)
    assert len(harness.injector.bounces) == 1
    harness.turn(1)
    assert harness.lines() == ["bounce msg 7 qp 999", "end msg 7"]


def test_a_bounce_waits_for_a_message_that_cannot_be_read(harness: SchedulerHarness) -> None:
    harness.old(7, b"a@b", local=b"Tj@example.org\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    os.unlink(harness.paths.mess(7))
    os.mkdir(harness.paths.mess(7))
    harness.report(b"j@example.org", b"D", b"bad\n")
    harness.turn()
    assert harness.lines()[-1] == "warning: trouble injecting bounce message, will try later"
    assert set(harness.files(7)) == {"info", "bounce"}


def test_a_bounce_about_a_lost_message_is_sent_once(harness: SchedulerHarness) -> None:
    harness.old(7, b"a@b", local=b"Tj@example.org\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    os.unlink(harness.paths.mess(7))
    harness.report(b"j@example.org", b"D", b"bad\n")
    harness.turn()
    [(_, _, text)] = harness.injector.bounces
    assert text.endswith(b"Return-Path: <a@b>\n\n(The text of the message has been lost.)\n")
    assert harness.files(7) == {}


def test_verp_senders_are_expanded_per_recipient(harness: SchedulerHarness) -> None:
    harness.todo(5, b"Flist-@example.org-@[]\0Tfoo+d@example.org\0Tr@other.net\0")
    harness.turn()
    senders = [sender for deliverer in (harness.local, harness.remote) for _, sender in deliverer.orders]
    assert senders == [b"list-foo+d=example.org@example.org", b"list-r=other.net@example.org"]
    assert "from <list-@example.org-@[]>" in harness.lines()[1]


def test_no_more_than_the_limit_run_at_a_time(tmp_path: Path) -> None:
    harness = SchedulerHarness(tmp_path, limits=(2, 1))
    harness.todo(5, b"Fa@b\0" + b"".join(b"T%d@example.org\0" % n for n in range(4)))
    harness.turn()
    assert harness.running == [b"0@example.org", b"1@example.org"]
    harness.report(b"1@example.org", b"K")
    harness.turn()
    assert harness.running == [b"0@example.org", b"2@example.org"]


def test_a_disconnected_deliverer_gets_no_requests(harness: SchedulerHarness) -> None:
    harness.local.open = False
    harness.todo(5, b"Fa@b\0Tj@example.org\0")
    harness.turn()
    assert harness.running == []
    harness.local.open = True
    harness.turn()
    assert harness.running == [b"j@example.org"]


def test_a_success_counts_when_it_is_durable(harness: SchedulerHarness) -> None:
    harness.old(7, b"a@b", local=b"Tj@example.org\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    delivery = harness.report(b"j@example.org", b"K", b"ok\n", durable=False)
    harness.turn()
    assert harness.files(7)["local"] == b"Tj@example.org\0"
    assert not harness.scheduler.idle
    harness.scheduler.results.mark_durable(delivery)
    harness.turn()
    assert harness.lines()[-1] == "end msg 7"
    assert harness.scheduler.idle


def test_a_success_that_never_became_durable_is_repeated(harness: SchedulerHarness) -> None:
    harness.old(7, b"a@b", local=b"Tj@example.org\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    delivery = harness.report(b"j@example.org", b"K", b"ok\n", durable=False)
    harness.scheduler.results.durability_lost(delivery)
    assert harness.due_of(LOCAL, 7) == [100]
    assert harness.files(7)["local"] == b"Tj@example.org\0"


def test_alrm_makes_everything_due(harness: SchedulerHarness) -> None:
    harness.old(7, b"a@b", due_s=5000, local=b"Tj@example.org\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    assert harness.running == []
    harness.scheduler.retry_all()
    harness.turn()
    assert harness.running == [b"j@example.org"]


def test_nothing_starts_when_the_end_is_near_but_running_deliveries_count(harness: SchedulerHarness) -> None:
    harness.old(7, b"a@b", local=b"Tj@example.org\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    harness.scheduler.exiting = True
    harness.todo(5, b"Fa@b\0Tk@example.org\0")
    harness.scanner.triggered()
    harness.turn()
    assert harness.running == [b"j@example.org"]
    assert set(harness.files(5)) == {"todo"}
    assert not harness.scheduler.idle
    harness.report(b"j@example.org", b"K")
    assert harness.scheduler.idle


def test_a_failure_that_cannot_be_noted_is_a_failure_to_come(harness: SchedulerHarness) -> None:
    harness.old(7, b"a@b", local=b"Tj@example.org\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    os.rmdir(f"{harness.paths.root}/bounce")
    harness.report(b"j@example.org", b"D", b"bad\n")
    harness.turn()
    assert "alert: unable to append to bounce message" in harness.lines()[-1]
    assert harness.files(7)["local"] == b"Tj@example.org\0"
    assert harness.due_of(LOCAL, 7) == [100]


def test_a_message_without_a_readable_sender_is_kept_for_later(harness: SchedulerHarness) -> None:
    harness.old(7, b"a@b", local=b"Tj@example.org\0")
    Path(harness.paths.info(7)).write_bytes(b"")
    harness.scanner.find_old(NOW)
    harness.turn()
    assert harness.lines() == ["warning: trouble reading info/1/7; will try again later"]
    assert harness.due_of(LOCAL, 7) == [123]


def test_a_message_whose_info_cannot_be_read_is_kept_for_later(harness: SchedulerHarness) -> None:
    harness.old(7, b"a@b", local=b"Tj@example.org\0")
    info = Path(harness.paths.info(7))
    content = info.read_bytes()
    info.unlink()
    info.mkdir()
    harness.scanner.find_old(NOW)
    harness.turn()
    assert harness.lines() == ["warning: trouble opening info/1/7; will try again later (is a directory)"]
    assert harness.due_of(LOCAL, 7) == [123]
    info.rmdir()
    info.write_bytes(content)
    harness.turn(124)
    assert harness.running == [b"j@example.org"]


def test_leftovers_in_mess_are_removed_after_36_hours(harness: SchedulerHarness) -> None:
    for number, age in ((3, 129601), (4, 129600), (5, 200000)):
        harness.message(number)
        os.utime(harness.paths.mess(number), (NOW - age, NOW - age))
    Path(harness.paths.info(5)).write_bytes(b"Fa@b\0")
    harness.turn()
    assert harness.cleaner.requests == [b"foop/3"]


def test_todo_is_searched_when_triggered_and_else_now_and_then(harness: SchedulerHarness) -> None:
    harness.turn()
    harness.todo(5, b"Fa@b\0Tj@example.org\0")
    harness.turn(1499)
    assert harness.running == []
    harness.scanner.triggered()
    harness.turn()
    assert harness.running == [b"j@example.org"]
    harness.todo(6, b"Fa@b\0Tk@example.org\0")
    harness.turn(1500)
    assert b"k@example.org" in harness.running


def test_a_search_that_lost_its_cleaner_stops_and_nothing_is_forgotten(harness: SchedulerHarness) -> None:
    harness.cleaner.present = False
    harness.todo(5, b"Fa@b\0Tj@example.org\0")
    harness.turn()
    assert set(harness.files(5)) == {"todo"}
    assert harness.scanner.wakes_at() is None
    harness.cleaner.present = True
    harness.turn()
    assert harness.running == [b"j@example.org"]


def test_a_failed_recipient_is_marked_when_the_bounce_is_on_the_disk(tmp_path: Path) -> None:
    """Else a power cut may leave the mark without the bounce, and the sender gets no report."""
    harness = SchedulerHarness(tmp_path)
    harness.scheduler.results.worker = harness.worker
    harness.worker.eager = False
    harness.old(7, b"a@b", local=b"Tj@example.org\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    harness.report(b"j@example.org", b"D", b"no\n")
    assert harness.files(7)["bounce"] == b"<j@example.org>:\nno\n\n"
    assert harness.files(7)["local"] == b"Tj@example.org\0"
    assert not harness.scheduler.idle, "an end waits for it"
    hand_over = harness.worker.begin()
    hand_over()
    assert "local" not in harness.files(7)
    assert harness.scheduler.idle


def test_a_bounce_that_cannot_be_flushed_leaves_the_recipient_to_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(fd: int) -> None:
        raise OSError(5, "input/output error")

    harness = SchedulerHarness(tmp_path)
    harness.old(7, b"a@b", local=b"Tj@example.org\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    monkeypatch.setattr(os, "fsync", fails)
    harness.report(b"j@example.org", b"D", b"no\n")
    assert harness.files(7)["local"] == b"Tj@example.org\0"
    assert (
        harness.lines()[-1] == "warning: trouble fsyncing bounce/7; will try its recipients again (input/output error)"
    )
    assert harness.due_of(LOCAL, 7) == [100]


def test_a_message_to_many_does_not_hold_up_the_others(tmp_path: Path) -> None:
    harness = SchedulerHarness(tmp_path, limits=(4, 4))
    many = b"".join(b"Tr%d@example.org\0" % count for count in range(200))
    harness.old(7, b"a@b", local=many)
    harness.scanner.find_old(NOW)
    harness.turn()
    harness.old(8, b"a@b", local=b"Tj@example.org\0")
    harness.scheduler.enqueue(8, LOCAL, NOW)
    harness.admit(9, b"Fa@b\0Tk@example.org\0")
    seen: list[bytes] = []
    while harness.running:
        seen.append(harness.running[0])
        harness.report(harness.running[0], b"K")
        harness.turn()
    assert len(seen) == len(set(seen)) == 202
    assert max(seen.index(b"j@example.org"), seen.index(b"k@example.org")) < 30


def test_messages_to_many_take_turns_and_few_of_them_stay_open(tmp_path: Path) -> None:
    harness = SchedulerHarness(tmp_path, limits=(4, 4))
    expected = set()
    for number in range(10, 70):
        names = [b"r%d-%d@example.org" % (number, count) for count in range(25)]
        expected |= set(names)
        harness.old(number, b"a@b", local=b"".join(b"T%b\0" % name for name in names))
    harness.scanner.find_old(NOW)
    harness.turn()
    seen: list[bytes] = []
    for _ in range(40):
        while harness.running:
            seen.append(harness.running[0])
            harness.report(harness.running[0], b"K")
            harness.turn()
            assert len(harness.scheduler.channels[LOCAL].open) < 56
        harness.turn(60)
    assert sorted(seen) == sorted(expected)


def test_waiting_messages_are_spilled_at_the_end(tmp_path: Path) -> None:
    harness = SchedulerHarness(tmp_path, limits=(30, 4))
    for number in (7, 8):
        harness.old(number, b"a@b", local=b"".join(b"Tr%d@example.org\0" % count for count in range(200)))
    harness.scanner.find_old(NOW)
    harness.turn()
    assert len(harness.running) == 30
    assert harness.scheduler.channels[LOCAL].resting
    harness.scheduler.attempts.suspend(7)
    harness.scheduler.attempts.suspend(8)
    assert not harness.scheduler.channels[LOCAL].resting
    for delivery, _ in list(harness.local.orders):
        harness.scheduler.results.report(delivery, DeliveryResult(b"K", b""))
    assert not harness.scheduler.channels[LOCAL].open
    assert harness.queue_files.birth_of(7) and harness.queue_files.birth_of(8)


def test_a_birth_in_the_future_is_now(harness: SchedulerHarness) -> None:
    harness.old(7, b"a@b", age_s=-86400, local=b"Tj@example.org\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    harness.report(b"j@example.org", b"Z")
    assert harness.due_of(LOCAL, 7) == [100]


def test_a_due_time_that_no_schedule_gives_is_now(harness: SchedulerHarness) -> None:
    """As a clock that was set back while no scheduler ran leaves it."""
    harness.old(7, b"a@b", due_s=30 * 86400, local=b"Tj@example.org\0")
    harness.old(8, b"a@b", due_s=8 * 3600, remote=b"Tr@other.net\0")
    harness.scanner.find_old(NOW)
    assert harness.due_of(LOCAL, 7) == [0]
    assert harness.due_of(REMOTE, 8) == [8 * 3600]


def test_nothing_waits_for_a_clock_that_was_set_back(tmp_path: Path) -> None:
    harness = SchedulerHarness(tmp_path, limits=(1, 2))
    harness.old(7, b"a@b", due_s=500, local=b"Tj@example.org\0")
    harness.old(8, b"a@b", due_s=0, remote=b"Tr@other.net\0")
    harness.old(9, b"a@b", due_s=HELD_UNTIL - NOW, local=b"Tk@example.org\0")
    harness.scanner.find_old(NOW)
    serial = harness.admit(4, b"Fa@b\0Tr@slow.net\0")
    harness.turn()
    harness.now -= 86400
    for part in (harness.scheduler, harness.scanner, harness.spilling, harness.ending.due):
        part.set_back(86400)
    assert harness.due_of(LOCAL, 7) == [500]
    assert harness.due_of(LOCAL, 9) == [HELD_UNTIL - NOW + 86400]
    harness.report(b"r@other.net", b"Z")
    harness.turn()
    assert harness.due_of(REMOTE, 8) == [400]
    harness.turn(11)
    assert harness.message_store.notices == [("waits", serial)], "what waits in memory is written down in time"
    harness.todo(5, b"Fa@b\0Tj@example.org\0")
    harness.turn(TODO_SCAN_S)
    assert "info" in harness.files(5), "todo/ is searched in time"


def test_the_first_line_shows_the_concurrency_limits(tmp_path: Path) -> None:
    harness = SchedulerHarness(tmp_path, limits=(3, 7))
    harness.scheduler.log_status()
    harness.todo(5, b"Fa@b\0Tj@example.org\0Tr@other.net\0Tk@example.org\0")
    harness.turn()
    lines = [line for line in harness.log.take().decode().splitlines() if line.startswith("status:")]
    assert (lines[0], lines[-1]) == ("status: local 0/3 remote 0/7", "status: local 2/3 remote 1/7")


def test_some_new_messages_are_prepared_at_a_time(harness: SchedulerHarness) -> None:
    harness.worker.eager = False
    for number in range(3, 11):
        harness.todo(number, b"Fa@b\0Tj%d@example.org\0" % number)
    for _ in range(40):
        harness.scanner.pump(NOW)
    assert len(harness.worker.work) == 4
    assert harness.scanner.busy
    while harness.worker.work:
        harness.worker.begin()()
        for _ in range(20):
            harness.scanner.pump(NOW)
    harness.scheduler.pump(NOW)
    assert sorted(harness.running) == sorted(b"j%d@example.org" % number for number in range(3, 11))
    assert not harness.scanner.busy


def test_a_message_whose_cleaning_and_state_are_unknown_is_looked_at_later(
    harness: SchedulerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cleaner may have died after its work; it must be taken up once, and only when that is known."""
    real_stat, is_broken = os.stat, [True]

    def stat(path: str, *rest: object, **named: object) -> os.stat_result:
        if is_broken[0] and path == harness.paths.info(5):
            raise OSError(5, "input/output error")
        return real_stat(path, *rest, **named)  # type: ignore[arg-type]

    harness.todo(5, b"Fa@b\0Tj@example.org\0")
    harness.worker.eager = False
    harness.scanner.pump(NOW)
    while not harness.worker.work:
        harness.scanner.pump(NOW)
    hand_over = harness.worker.begin()
    harness.cleaner.answer = b"!"
    os.unlink(harness.paths.todo(5))
    monkeypatch.setattr(os, "stat", stat)
    hand_over()
    assert harness.due_of(LOCAL, 5) == []
    harness.worker.eager = True
    harness.turn()
    assert harness.running == []
    is_broken[0] = False
    harness.turn(SYSTEM_ERROR_PAUSE_S + 1)
    assert harness.running == [b"j@example.org"]
    assert harness.due_of(LOCAL, 5) == []


def test_descriptors_of_messages_are_closed_whatever_becomes_of_them(tmp_path: Path) -> None:
    harness = SchedulerHarness(tmp_path, limits=(200, 200))
    gc.collect()  # What other tests left is closed now, not in between.
    before = len(os.listdir("/proc/self/fd"))
    serials = {
        number: harness.admit(number, b"Fa@b\0Tj%d@example.org\0Tr@other.net\0" % number) for number in range(110)
    }
    harness.turn()
    for delivery, _ in [*harness.local.orders, *harness.remote.orders]:
        letter = b"Z" if delivery.job.number % 3 == 0 else b"D" if delivery.job.number % 3 == 1 else b"K"
        harness.scheduler.results.report(delivery, DeliveryResult(letter, b"x"))
    harness.local.orders.clear()
    harness.remote.orders.clear()
    for number, serial in serials.items():
        if ("waits", serial) in harness.message_store.notices:
            harness.written(serial, number, ok=number % 2 == 0)
    for _ in range(3):
        harness.turn(400)
        for delivery, _ in [*harness.local.orders, *harness.remote.orders]:
            harness.scheduler.results.report(delivery, DeliveryResult(b"K", b"x"))
        harness.local.orders.clear()
        harness.remote.orders.clear()
    harness.spilling.give_up()
    assert len(os.listdir("/proc/self/fd")) == before


def ended_while_the_cleaner_died(harness: SchedulerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Message 5 is delivered and has no info/5 any more; its mess/5 is there, because the queue service died."""
    harness.old(5, b"Fa@b\0", local=b"Tjoe@example.org\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    monkeypatch.setattr(harness.cleaner, "answer", b"!")
    harness.report(b"joe@example.org", b"K")
    harness.turn()
    assert not os.path.exists(harness.paths.info(5)) and os.path.exists(harness.paths.mess(5))
    monkeypatch.undo()


def test_an_ended_message_whose_cleaner_died_is_removed_when_it_is_back(
    harness: SchedulerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_while_the_cleaner_died(harness, monkeypatch)
    harness.cleaner.present = False
    harness.turn(100)
    assert os.path.exists(harness.paths.mess(5))
    harness.cleaner.present = True
    harness.turn(101)
    assert not os.path.exists(harness.paths.mess(5))
    assert harness.ending.wakes_at() is None, "and then nothing is left to do"


@pytest.mark.parametrize("used_by", ["another that is being written", "one in todo", "one that is preprocessed"])
def test_a_number_that_is_used_again_is_not_cleaned_up(
    harness: SchedulerHarness, monkeypatch: pytest.MonkeyPatch, used_by: str
) -> None:
    ended_while_the_cleaner_died(harness, monkeypatch)
    if used_by == "another that is being written":
        os.utime(harness.paths.mess(5), ns=(1, 1))
    else:
        path = harness.paths.todo(5) if used_by == "one in todo" else harness.paths.info(5)
        Path(path).write_bytes(b"")
    harness.ending.pump(NOW + 100)
    assert os.path.exists(harness.paths.mess(5))
    assert harness.cleaner.requests == [b"foop/5"]
