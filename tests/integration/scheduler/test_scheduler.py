"""The scheduler with messages on the disk: arrivals, attempts, marks, endings."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from eqmail_core.queue.format.channels import HELD_UNTIL
from eqmail_core.scheduler.ports import SYSTEM_ERROR_PAUSE_S
from eqmail_core.scheduler.queue_scanner import TODO_SCAN_S
from tests.support.scheduler_harness import LOCAL, NOW, REMOTE, Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_message_from_todo_is_delivered_and_leaves_nothing(stage: Stage) -> None:
    stage.todo(5, b"Fa@b\0Tjoe@example.org\0Trem@other.net\0")
    stage.turn()
    assert stage.files(5) == {"info": b"Fa@b\0", "local": b"Tjoe@example.org\0", "remote": b"Trem@other.net\0"}
    assert [os.stat(stage.paths.channel(name, 5)).st_mode & 0o777 for name in ("local", "remote")] == [0o600, 0o600]
    stage.report(b"joe@example.org", b"K", b"ok\n")
    stage.report(b"rem@other.net", b"K")
    stage.turn()
    assert stage.lines() == [
        "new msg 5",
        "info msg 5: bytes 17 from <a@b> qp 42 uid 7",
        "starting delivery 1: msg 5 to local joe@example.org",
        "starting delivery 2: msg 5 to remote rem@other.net",
        "delivery 1: success: ok/",
        "delivery 2: success: ",
        "end msg 5",
    ]
    assert stage.files(5) == {}
    assert stage.cleaner.requests == [b"todo/2/5", b"foop/5"]
    assert not os.path.exists(stage.paths.mess(5))


def test_garbage_of_an_interrupted_start_is_replaced(stage: Stage) -> None:
    stage.old(5, b"garbage", local=b"Tx@y\0", remote=b"Tx@z\0")
    stage.todo(5, b"Fa@b\0Tjoe@example.org\0")
    stage.arrivals.find_old(NOW)
    stage.turn()
    assert stage.files(5) == {"info": b"Fa@b\0", "local": b"Tjoe@example.org\0"}
    assert stage.running == [b"joe@example.org"]


def test_an_unknown_record_is_left_in_todo(stage: Stage) -> None:
    stage.todo(5, b"Fa@b\0Xjoe@example.org\0")
    stage.turn()
    assert stage.lines()[-1] == "warning: unknown record type in todo/2/5"
    assert set(stage.files(5)) == {"todo", "info"}
    assert stage.cleaner.requests == []


def test_a_cleaner_that_died_after_its_work_delays_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request was carried out and the answer lost: todo/N is gone, so nothing would ever find the message again."""

    def die(name: bytes, then: Callable[[bytes], None]) -> None:
        os.unlink(stage.paths.todo(5))
        then(b"!")

    monkeypatch.setattr(stage.cleaner, "clean", die)
    stage.todo(5, b"Fa@b\0Tjoe@example.org\0")
    stage.turn()
    assert "warning: qmail-clean unable to clean up todo/2/5" in stage.lines()
    assert stage.running == [b"joe@example.org"]


def test_a_cleaner_that_did_nothing_is_asked_again(stage: Stage) -> None:
    stage.cleaner.answer = b"!"
    stage.todo(5, b"Fa@b\0Tjoe@example.org\0")
    stage.turn()
    assert stage.running == []
    stage.cleaner.answer = b"+"
    stage.turn(130)
    assert stage.running == [b"joe@example.org"]


def test_a_message_without_recipients_ends_at_once(stage: Stage) -> None:
    stage.todo(5, b"Fa@b\0")
    stage.turn()
    assert stage.lines()[-1] == "end msg 5"


def test_a_deferred_recipient_waits_while_others_are_marked_done(stage: Stage) -> None:
    stage.todo(5, b"Fa@b\0Tj@example.org\0Tk@example.org\0")
    stage.turn()
    stage.report(b"j@example.org", b"Z", b"later\n")
    stage.report(b"k@example.org", b"K")
    stage.turn()
    assert stage.files(5)["local"] == b"Tj@example.org\0Dk@example.org\0"
    assert stage.running == []
    assert stage.due_of(LOCAL, 5) == [100], "its birth is by the real clock, in the future of the stage's"


def test_the_next_attempt_skips_those_who_are_done_and_follows_the_schedule(stage: Stage) -> None:
    stage.old(7, b"a@b", age_s=500, due_s=-1, remote=b"Dx@other.net\0Ty@other.net\0")
    stage.arrivals.find_old(NOW)
    stage.turn()
    assert stage.running == [b"y@other.net"]
    stage.report(b"y@other.net", b"Z")
    stage.turn()
    # isqrt(500) is 22: the next attempt is due 42 squared seconds after birth
    assert stage.due_of(REMOTE, 7) == [42 * 42 - 500]
    stage.turn(42 * 42 - 501)
    assert stage.running == []
    stage.turn(1)
    assert stage.running == [b"y@other.net"]


def test_a_mangled_report_defers(stage: Stage) -> None:
    stage.old(7, b"a@b", local=b"Tj@example.org\0")
    stage.arrivals.find_old(NOW)
    stage.turn()
    stage.report(b"j@example.org", b"X", b"what")
    assert stage.lines()[-1] == "delivery 1: report mangled, will defer"
    assert stage.files(7)["local"] == b"Tj@example.org\0"
    assert stage.due_of(LOCAL, 7) == [100]


def test_a_deferral_of_a_message_that_is_too_old_bounces(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lifetime_s=5000)
    stage.old(7, b"a@b", age_s=5001, remote=b"Tr@other.net\0")
    stage.arrivals.find_old(NOW)
    stage.turn()
    stage.report(b"r@other.net", b"Z", b"not yet\n")
    stage.turn()
    [(sender, recipient, text)] = stage.injector.bounces
    assert (sender, recipient) == (b"", b"a@b")
    told = b"not yet\nI'm not going to try again; this message has been in the queue too long.\n\n---"
    assert b"<r@other.net>:\n" + told in text
    assert text.endswith(b"\nReturn-Path: <a@b>\nSubject: x\n\nbody\n")
    assert stage.lines()[-2:] == ["bounce msg 7 qp 999", "end msg 7"]


def test_a_bounce_shows_virtual_recipients_as_their_sender_knows_them(stage: Stage) -> None:
    stage.todo(5, b"Fa@b\0Tx@virt.org\0")
    stage.turn()
    stage.report(b"v-x@virt.org", b"D", b"unknown")
    assert stage.files(5)["bounce"] == b"<x@virt.org>:\nunknown\n\n"
    assert os.stat(stage.paths.bounce(5)).st_mode & 0o777 == 0o600


def test_a_failed_bounce_becomes_a_double_bounce_and_that_is_discarded(stage: Stage) -> None:
    stage.old(7, b"", local=b"Tj@example.org\0")
    stage.old(8, b"#@[]", local=b"Tk@example.org\0")
    stage.arrivals.find_old(NOW)
    stage.turn()
    stage.report(b"j@example.org", b"D", b"bad\n")
    stage.report(b"k@example.org", b"D", b"bad\n")
    stage.turn()
    assert [bounce[:2] for bounce in stage.injector.bounces] == [(b"#@[]", b"postmaster@me.org")]
    assert stage.lines()[-4:] == [
        "bounce msg 7 qp 999",
        "end msg 7",
        "triple bounce: discarding bounce/8",
        "end msg 8",
    ]
    assert stage.files(7) == stage.files(8) == {}


def test_a_bounce_that_cannot_be_injected_is_tried_again(stage: Stage) -> None:
    stage.old(7, b"a@b", local=b"Tj@example.org\0")
    stage.arrivals.find_old(NOW)
    stage.turn()
    stage.injector.code = 53
    stage.report(b"j@example.org", b"D", b"bad\n")
    stage.turn()
    assert stage.lines()[-1] == "warning: trouble injecting bounce message, will try later"
    assert set(stage.files(7)) == {"info", "bounce"}
    stage.injector.code = 0
    stage.turn(122)
    assert len(stage.injector.bounces) == 1
    stage.turn(1)
    assert stage.lines() == ["bounce msg 7 qp 999", "end msg 7"]


def test_a_bounce_waits_for_a_message_that_cannot_be_read(stage: Stage) -> None:
    stage.old(7, b"a@b", local=b"Tj@example.org\0")
    stage.arrivals.find_old(NOW)
    stage.turn()
    os.unlink(stage.paths.mess(7))
    os.mkdir(stage.paths.mess(7))
    stage.report(b"j@example.org", b"D", b"bad\n")
    stage.turn()
    assert stage.lines()[-1] == "warning: trouble injecting bounce message, will try later"
    assert set(stage.files(7)) == {"info", "bounce"}


def test_a_bounce_about_a_lost_message_says_so_once(stage: Stage) -> None:
    stage.old(7, b"a@b", local=b"Tj@example.org\0")
    stage.arrivals.find_old(NOW)
    stage.turn()
    os.unlink(stage.paths.mess(7))
    stage.report(b"j@example.org", b"D", b"bad\n")
    stage.turn()
    [(_, _, text)] = stage.injector.bounces
    assert text.endswith(b"Return-Path: <a@b>\n\n(The text of the message has been lost.)\n")
    assert stage.files(7) == {}


def test_verp_senders_are_expanded_per_recipient(stage: Stage) -> None:
    stage.todo(5, b"Flist-@example.org-@[]\0Tfoo+d@example.org\0Tr@other.net\0")
    stage.turn()
    senders = [sender for deliverer in (stage.local, stage.remote) for _, sender in deliverer.orders]
    assert senders == [b"list-foo+d=example.org@example.org", b"list-r=other.net@example.org"]
    assert "from <list-@example.org-@[]>" in stage.lines()[1]


def test_no_more_than_the_limit_run_at_a_time(tmp_path: Path) -> None:
    stage = Stage(tmp_path, limits=(2, 1))
    stage.todo(5, b"Fa@b\0" + b"".join(b"T%d@example.org\0" % n for n in range(4)))
    stage.turn()
    assert stage.running == [b"0@example.org", b"1@example.org"]
    stage.report(b"1@example.org", b"K")
    stage.turn()
    assert stage.running == [b"0@example.org", b"2@example.org"]


def test_a_deliverer_that_is_away_gets_nothing(stage: Stage) -> None:
    stage.local.open = False
    stage.todo(5, b"Fa@b\0Tj@example.org\0")
    stage.turn()
    assert stage.running == []
    stage.local.open = True
    stage.turn()
    assert stage.running == [b"j@example.org"]


def test_a_success_counts_when_it_is_durable(stage: Stage) -> None:
    stage.old(7, b"a@b", local=b"Tj@example.org\0")
    stage.arrivals.find_old(NOW)
    stage.turn()
    delivery = stage.report(b"j@example.org", b"K", b"ok\n", durable=False)
    stage.turn()
    assert stage.files(7)["local"] == b"Tj@example.org\0"
    assert not stage.scheduler.idle
    stage.scheduler.mark_durable(delivery)
    stage.turn()
    assert stage.lines()[-1] == "end msg 7"
    assert stage.scheduler.idle


def test_a_success_that_never_became_durable_is_repeated(stage: Stage) -> None:
    stage.old(7, b"a@b", local=b"Tj@example.org\0")
    stage.arrivals.find_old(NOW)
    stage.turn()
    delivery = stage.report(b"j@example.org", b"K", b"ok\n", durable=False)
    stage.scheduler.durability_lost(delivery)
    assert stage.due_of(LOCAL, 7) == [100]
    assert stage.files(7)["local"] == b"Tj@example.org\0"


def test_alrm_makes_everything_due(stage: Stage) -> None:
    stage.old(7, b"a@b", due_s=5000, local=b"Tj@example.org\0")
    stage.arrivals.find_old(NOW)
    stage.turn()
    assert stage.running == []
    stage.scheduler.retry_all()
    stage.turn()
    assert stage.running == [b"j@example.org"]


def test_nothing_starts_when_the_end_is_near_but_running_deliveries_count(stage: Stage) -> None:
    stage.old(7, b"a@b", local=b"Tj@example.org\0")
    stage.arrivals.find_old(NOW)
    stage.turn()
    stage.scheduler.exiting = True
    stage.todo(5, b"Fa@b\0Tk@example.org\0")
    stage.arrivals.triggered()
    stage.turn()
    assert stage.running == [b"j@example.org"]
    assert set(stage.files(5)) == {"todo"}
    assert not stage.scheduler.idle
    stage.report(b"j@example.org", b"K")
    assert stage.scheduler.idle


def test_a_failure_that_cannot_be_noted_is_a_failure_to_come(stage: Stage) -> None:
    stage.old(7, b"a@b", local=b"Tj@example.org\0")
    stage.arrivals.find_old(NOW)
    stage.turn()
    os.rmdir(f"{stage.paths.root}/bounce")
    stage.report(b"j@example.org", b"D", b"bad\n")
    stage.turn()
    assert "alert: unable to append to bounce message" in stage.lines()[-1]
    assert stage.files(7)["local"] == b"Tj@example.org\0"
    assert stage.due_of(LOCAL, 7) == [100]


def test_a_message_without_a_readable_sender_is_kept_for_later(stage: Stage) -> None:
    stage.old(7, b"a@b", local=b"Tj@example.org\0")
    Path(stage.paths.info(7)).write_bytes(b"")
    stage.arrivals.find_old(NOW)
    stage.turn()
    assert stage.lines() == ["warning: trouble reading info/1/7; will try again later"]
    assert stage.due_of(LOCAL, 7) == [123]


def test_rubbish_in_mess_is_swept_after_36_hours(stage: Stage) -> None:
    for number, age in ((3, 129601), (4, 129600), (5, 200000)):
        stage.message(number)
        os.utime(stage.paths.mess(number), (NOW - age, NOW - age))
    Path(stage.paths.info(5)).write_bytes(b"Fa@b\0")
    stage.turn()
    assert stage.cleaner.requests == [b"foop/3"]


def test_todo_is_searched_when_triggered_and_else_now_and_then(stage: Stage) -> None:
    stage.turn()
    stage.todo(5, b"Fa@b\0Tj@example.org\0")
    stage.turn(1499)
    assert stage.running == []
    stage.arrivals.triggered()
    stage.turn()
    assert stage.running == [b"j@example.org"]
    stage.todo(6, b"Fa@b\0Tk@example.org\0")
    stage.turn(1500)
    assert b"k@example.org" in stage.running


def test_a_search_that_lost_its_cleaner_stops_and_nothing_is_forgotten(stage: Stage) -> None:
    stage.cleaner.present = False
    stage.todo(5, b"Fa@b\0Tj@example.org\0")
    stage.turn()
    assert set(stage.files(5)) == {"todo"}
    assert stage.arrivals.wakes_at() is None
    stage.cleaner.present = True
    stage.turn()
    assert stage.running == [b"j@example.org"]


def test_a_failed_recipient_is_marked_when_the_bounce_is_on_the_disk(tmp_path: Path) -> None:
    """Else a power cut may leave the mark without the bounce, and nobody is told."""
    stage = Stage(tmp_path)
    stage.scheduler.worker = stage.worker
    stage.worker.eager = False
    stage.old(7, b"a@b", local=b"Tj@example.org\0")
    stage.arrivals.find_old(NOW)
    stage.turn()
    stage.report(b"j@example.org", b"D", b"no\n")
    assert stage.files(7)["bounce"] == b"<j@example.org>:\nno\n\n"
    assert stage.files(7)["local"] == b"Tj@example.org\0"
    assert not stage.scheduler.idle, "an end waits for it"
    hand_over = stage.worker.begin()
    hand_over()
    assert "local" not in stage.files(7)
    assert stage.scheduler.idle


def test_a_bounce_that_cannot_be_flushed_leaves_the_recipient_to_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(fd: int) -> None:
        raise OSError(5, "input/output error")

    stage = Stage(tmp_path)
    stage.old(7, b"a@b", local=b"Tj@example.org\0")
    stage.arrivals.find_old(NOW)
    stage.turn()
    monkeypatch.setattr(os, "fsync", fails)
    stage.report(b"j@example.org", b"D", b"no\n")
    assert stage.files(7)["local"] == b"Tj@example.org\0"
    assert stage.lines()[-1] == "warning: trouble fsyncing bounce/7; will try its recipients again (input/output error)"
    assert stage.due_of(LOCAL, 7) == [100]


def test_a_message_to_many_does_not_hold_up_the_others(tmp_path: Path) -> None:
    stage = Stage(tmp_path, limits=(4, 4))
    many = b"".join(b"Tr%d@example.org\0" % count for count in range(200))
    stage.old(7, b"a@b", local=many)
    stage.arrivals.find_old(NOW)
    stage.turn()
    stage.old(8, b"a@b", local=b"Tj@example.org\0")
    stage.scheduler.enqueue(8, LOCAL, NOW)
    stage.admit(9, b"Fa@b\0Tk@example.org\0")
    seen: list[bytes] = []
    while stage.running:
        seen.append(stage.running[0])
        stage.report(stage.running[0], b"K")
        stage.turn()
    assert len(seen) == len(set(seen)) == 202
    assert max(seen.index(b"j@example.org"), seen.index(b"k@example.org")) < 30


def test_messages_to_many_take_turns_and_few_of_them_stay_open(tmp_path: Path) -> None:
    stage = Stage(tmp_path, limits=(4, 4))
    expected = set()
    for number in range(10, 70):
        names = [b"r%d-%d@example.org" % (number, count) for count in range(25)]
        expected |= set(names)
        stage.old(number, b"a@b", local=b"".join(b"T%b\0" % name for name in names))
    stage.arrivals.find_old(NOW)
    stage.turn()
    seen: list[bytes] = []
    for _ in range(40):
        while stage.running:
            seen.append(stage.running[0])
            stage.report(stage.running[0], b"K")
            stage.turn()
            assert len(stage.scheduler.channels[LOCAL].open) < 56
        stage.turn(60)
    assert sorted(seen) == sorted(expected)


def test_resting_messages_are_put_down_at_the_end(tmp_path: Path) -> None:
    stage = Stage(tmp_path, limits=(30, 4))
    for number in (7, 8):
        stage.old(number, b"a@b", local=b"".join(b"Tr%d@example.org\0" % count for count in range(200)))
    stage.arrivals.find_old(NOW)
    stage.turn()
    assert len(stage.running) == 30
    assert stage.scheduler.channels[LOCAL].resting
    stage.scheduler.suspend_message(7)
    stage.scheduler.suspend_message(8)
    assert not stage.scheduler.channels[LOCAL].resting
    for delivery, _ in list(stage.local.orders):
        stage.scheduler.report(delivery, b"K", b"")
    assert not stage.scheduler.channels[LOCAL].open
    assert stage.ledger.birth_of(7) and stage.ledger.birth_of(8)


def test_a_birth_in_the_future_is_now(stage: Stage) -> None:
    stage.old(7, b"a@b", age_s=-86400, local=b"Tj@example.org\0")
    stage.arrivals.find_old(NOW)
    stage.turn()
    stage.report(b"j@example.org", b"Z")
    assert stage.due_of(LOCAL, 7) == [100]


def test_a_due_time_that_no_schedule_gives_is_now(stage: Stage) -> None:
    """As a clock that was set back while no scheduler ran leaves it."""
    stage.old(7, b"a@b", due_s=30 * 86400, local=b"Tj@example.org\0")
    stage.old(8, b"a@b", due_s=8 * 3600, remote=b"Tr@other.net\0")
    stage.arrivals.find_old(NOW)
    assert stage.due_of(LOCAL, 7) == [0]
    assert stage.due_of(REMOTE, 8) == [8 * 3600]


def test_nothing_waits_for_a_clock_that_was_set_back(tmp_path: Path) -> None:
    stage = Stage(tmp_path, limits=(1, 2))
    stage.old(7, b"a@b", due_s=500, local=b"Tj@example.org\0")
    stage.old(8, b"a@b", due_s=0, remote=b"Tr@other.net\0")
    stage.old(9, b"a@b", due_s=HELD_UNTIL - NOW, local=b"Tk@example.org\0")
    stage.arrivals.find_old(NOW)
    serial = stage.admit(4, b"Fa@b\0Tr@slow.net\0")
    stage.turn()
    stage.now -= 86400
    for part in (stage.scheduler, stage.arrivals, stage.spilling, stage.ending.due):
        part.set_back(86400)
    assert stage.due_of(LOCAL, 7) == [500]
    assert stage.due_of(LOCAL, 9) == [HELD_UNTIL - NOW + 86400]
    stage.report(b"r@other.net", b"Z")
    stage.turn()
    assert stage.due_of(REMOTE, 8) == [400]
    stage.turn(11)
    assert stage.keeper.told == [("waits", serial)], "what waits in memory is written down in time"
    stage.todo(5, b"Fa@b\0Tj@example.org\0")
    stage.turn(TODO_SCAN_S)
    assert "info" in stage.files(5), "todo/ is searched in time"


def test_the_first_line_tells_how_many_deliveries_may_run(tmp_path: Path) -> None:
    stage = Stage(tmp_path, limits=(3, 7))
    stage.scheduler.log_status()
    stage.todo(5, b"Fa@b\0Tj@example.org\0Tr@other.net\0Tk@example.org\0")
    stage.turn()
    lines = [line for line in stage.log.take().decode().splitlines() if line.startswith("status:")]
    assert (lines[0], lines[-1]) == ("status: local 0/3 remote 0/7", "status: local 2/3 remote 1/7")


def test_some_new_messages_are_prepared_at_a_time(stage: Stage) -> None:
    stage.worker.eager = False
    for number in range(3, 11):
        stage.todo(number, b"Fa@b\0Tj%d@example.org\0" % number)
    for _ in range(40):
        stage.arrivals.pump(NOW)
    assert len(stage.worker.work) == 4
    assert stage.arrivals.busy
    while stage.worker.work:
        stage.worker.begin()()
        for _ in range(20):
            stage.arrivals.pump(NOW)
    stage.scheduler.pump(NOW)
    assert sorted(stage.running) == sorted(b"j%d@example.org" % number for number in range(3, 11))
    assert not stage.arrivals.busy


def test_a_message_whose_cleaning_and_state_are_unknown_is_looked_at_later(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cleaner may have died after its work; it must be taken up, but once, and not before that can be told."""
    real_stat, is_broken = os.stat, [True]

    def stat(path: str, *rest: object, **named: object) -> os.stat_result:
        if is_broken[0] and path == stage.paths.info(5):
            raise OSError(5, "input/output error")
        return real_stat(path, *rest, **named)  # type: ignore[arg-type]

    stage.todo(5, b"Fa@b\0Tj@example.org\0")
    stage.worker.eager = False
    stage.arrivals.pump(NOW)
    while not stage.worker.work:
        stage.arrivals.pump(NOW)
    hand_over = stage.worker.begin()
    stage.cleaner.answer = b"!"
    os.unlink(stage.paths.todo(5))
    monkeypatch.setattr(os, "stat", stat)
    hand_over()
    assert stage.due_of(LOCAL, 5) == []
    stage.worker.eager = True
    stage.turn()
    assert stage.running == []
    is_broken[0] = False
    stage.turn(SYSTEM_ERROR_PAUSE_S + 1)
    assert stage.running == [b"j@example.org"]
    assert stage.due_of(LOCAL, 5) == []


def test_descriptors_of_messages_are_closed_whatever_becomes_of_them(tmp_path: Path) -> None:
    stage = Stage(tmp_path, limits=(200, 200))
    before = len(os.listdir("/proc/self/fd"))
    serials = {number: stage.admit(number, b"Fa@b\0Tj%d@example.org\0Tr@other.net\0" % number) for number in range(110)}
    stage.turn()
    for delivery, _ in [*stage.local.orders, *stage.remote.orders]:
        letter = b"Z" if delivery.job.number % 3 == 0 else b"D" if delivery.job.number % 3 == 1 else b"K"
        stage.scheduler.report(delivery, letter, b"x")
    stage.local.orders.clear()
    stage.remote.orders.clear()
    for number, serial in serials.items():
        if ("waits", serial) in stage.keeper.told:
            stage.written(serial, number, ok=number % 2 == 0)
    for _ in range(3):
        stage.turn(400)
        for delivery, _ in [*stage.local.orders, *stage.remote.orders]:
            stage.scheduler.report(delivery, b"K", b"x")
        stage.local.orders.clear()
        stage.remote.orders.clear()
    stage.spilling.give_up()
    assert len(os.listdir("/proc/self/fd")) == before
