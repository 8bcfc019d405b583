"""What administrators see of the scheduler, and what their orders do to its books and its files."""

import os
from pathlib import Path

import pytest

from eqmail_core.ipc import scheduler_control_protocol as wire
from eqmail_core.queue.admin.actions import stamp_of
from eqmail_core.queue.format.channels import HELD_UNTIL
from tests.support.scheduler_harness import LOCAL, NOW, REMOTE, Stage

TWO = b"Ta@other.net\0Tb@other.net\0"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    it = Stage(tmp_path)
    it.desk.client_connected()
    return it


def order(stage: Stage, verb: bytes, number: int, stamp: bytes = b"") -> list[bytes]:
    """Give an order; the results, which come later where the list is still empty."""
    results: list[bytes] = []
    stage.desk.change(verb, number, stamp or stamp_of(stage.paths, number) or b"0", 1000, results.append)
    return results


def waiting(stage: Stage, number: int = 7, **lists: bytes) -> None:
    stage.old(number, b"s@x", age_s=1000, due_s=500, **(lists or {"remote": TWO}))
    stage.arrivals.find_old(int(stage.now))


def mtime(stage: Stage, number: int = 7) -> int:
    return int(os.stat(stage.paths.channel("remote", number)).st_mtime)


def test_a_held_message_is_not_tried_until_it_is_released(stage: Stage) -> None:
    waiting(stage)
    assert order(stage, wire.HOLD, 7) == [b"done"]
    assert mtime(stage) == HELD_UNTIL, "C's qmail-send would leave it alone too"
    stage.scheduler.retry_all()
    stage.turn(1_000_000)
    assert stage.running == []
    assert order(stage, wire.RELEASE, 7) == [b"done"]
    stage.turn()
    assert stage.running == [b"a@other.net", b"b@other.net"]
    assert stage.lines()[0] == "qmail-send: audit: uid 1000 hold msg 7 from <s@x>: done"


def test_a_message_is_held_after_its_running_deliveries(stage: Stage) -> None:
    waiting(stage)
    order(stage, wire.RETRY, 7)
    stage.turn()
    assert order(stage, wire.HOLD, 7) == [b"busy"]
    stage.report(b"a@other.net", b"K")
    stage.report(b"b@other.net", b"Z", b"later")
    stage.turn(10_000)
    assert stage.running == []
    assert stage.files(7)["remote"] == b"Da@other.net\0Tb@other.net\0"
    assert mtime(stage) == HELD_UNTIL


def test_no_further_recipient_of_a_message_is_tried_once_it_is_held(tmp_path: Path) -> None:
    stage = Stage(tmp_path, limits=(1, 1))
    stage.desk.client_connected()
    waiting(stage)
    order(stage, wire.RETRY, 7)
    stage.turn()
    assert order(stage, wire.HOLD, 7) == [b"busy"]
    stage.report(b"a@other.net", b"K")
    stage.turn(10_000)
    assert stage.running == []
    assert stage.files(7)["remote"] == b"Da@other.net\0Tb@other.net\0"
    order(stage, wire.RELEASE, 7)
    stage.turn()
    assert stage.running == [b"b@other.net"]


def test_a_deleted_message_ends_without_a_word_to_its_sender(stage: Stage) -> None:
    waiting(stage, remote=TWO, local=b"Tj@example.org\0")
    Path(stage.paths.bounce(7)).write_bytes(b"<x@y>:\nno\n\n")
    assert order(stage, wire.DELETE, 7) == [b"done"]
    stage.turn(10_000)
    assert stage.files(7) == {}
    assert not os.path.exists(stage.paths.mess(7))
    assert stage.injector.bounces == []
    assert stage.running == []
    assert "end msg 7" in stage.lines()


def test_a_message_is_deleted_after_its_running_deliveries(stage: Stage) -> None:
    waiting(stage, remote=TWO, local=b"Tj@example.org\0")
    order(stage, wire.RETRY, 7)
    stage.turn()
    assert order(stage, wire.DELETE, 7) == [b"busy"]
    stage.report(b"a@other.net", b"D", b"no")
    stage.report(b"b@other.net", b"Z", b"later")
    assert "remote" in stage.files(7)
    stage.report(b"j@example.org", b"Z", b"later")
    stage.turn(10_000)
    assert stage.files(7) == {}
    assert stage.injector.bounces == []


def test_a_returned_message_fails_for_those_who_wait(stage: Stage) -> None:
    waiting(stage, remote=b"Da@other.net\0Tb@other.net\0", local=b"Tv-c@virt.org\0")
    assert order(stage, wire.BOUNCE, 7) == [b"done"]
    stage.turn()
    [(_, recipient, text)] = stage.injector.bounces
    assert recipient == b"s@x"
    assert b"<b@other.net>:\n" in text
    assert b"<c@virt.org>:\n" in text, "as the sender knew it"
    assert b"a@other.net" not in text
    assert stage.files(7) == {}


def test_a_message_is_returned_after_its_running_deliveries(stage: Stage) -> None:
    waiting(stage)
    order(stage, wire.RETRY, 7)
    stage.turn()
    assert order(stage, wire.BOUNCE, 7) == [b"busy"]
    stage.report(b"a@other.net", b"K")
    stage.report(b"b@other.net", b"Z", b"later")
    stage.turn()
    [(_, _, text)] = stage.injector.bounces
    assert b"<b@other.net>:\n" in text
    assert b"<a@other.net>" not in text
    assert stage.files(7) == {}


def test_orders_for_another_bearer_of_the_number_are_refused(stage: Stage) -> None:
    waiting(stage)
    assert order(stage, wire.DELETE, 7, b"12345") == [b"changed"]
    assert order(stage, wire.DELETE, 8) == [b"gone"]
    assert order(stage, wire.DELETE, 7, b"m1") == [b"changed"], "it was in memory when it was seen"
    assert stage.files(7) != {}


def test_a_message_that_is_not_preprocessed_stays_as_it_is(stage: Stage) -> None:
    waiting(stage)
    stage.todo(7, b"Fs@x\0Ta@other.net\0")
    assert order(stage, wire.DELETE, 7) == [b"new"]
    assert stage.files(7)["remote"] == TWO


def test_a_message_in_memory_is_changed_on_the_disk(stage: Stage) -> None:
    serial = stage.admit(9, b"Fs@x\0Ta@other.net\0")
    results = order(stage, wire.DELETE, 9, b"m%d" % serial)
    assert results == []
    stage.written(serial, 9)
    assert results == [b"done"]
    stage.turn(1000)
    assert stage.files(9) == {}
    assert stage.running == []
    assert stage.keeper.told[-1] == ("placed", serial)


def test_a_message_in_memory_that_was_delivered_meanwhile_is_gone(stage: Stage) -> None:
    serial = stage.admit(9, b"Fs@x\0Ta@other.net\0")
    stage.turn()
    results = order(stage, wire.HOLD, 9, b"m%d" % serial)
    stage.report(b"a@other.net", b"K")
    stage.written(serial, 9, ok=False)
    assert results == [b"gone"]


def test_a_failing_disk_leaves_the_message_as_it_was(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting(stage)

    def fails(*arguments: object, **options: object) -> None:
        raise OSError(28, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", fails)
        [result] = order(stage, wire.DELETE, 7)
    assert result.startswith(b"unable to unlink")
    assert stage.due_of(REMOTE, 7) == [500]
    assert stage.files(7)["remote"] == TWO


def test_the_books_tell_what_is_in_memory_and_when_things_are_due(stage: Stage) -> None:
    waiting(stage)
    serial = stage.admit(9, b"Fs@x\0Ta@other.net\0Tj@example.org\0")
    stage.turn()
    stage.report(b"j@example.org", b"K")
    packets = list(stage.desk.listing())
    [message] = [wire.split_message(it) for it in packets if it[:1] == wire.MESSAGE]
    assert (message.serial, message.number, message.birth, message.sender) == (serial, 9, NOW, b"s@x")
    [recipients] = [wire.split_recipients(it) for it in packets if it[:1] == wire.RECIPIENTS]
    assert recipients == [("local", True, b"j@example.org"), ("remote", False, b"a@other.net")]
    [due] = [wire.split_due(it) for it in packets if it[:1] == wire.DUE]
    assert due == ("remote", [(7, NOW + 500)])
    counters = dict(pair for it in stage.desk.counters() for pair in wire.split_pairs(it))
    assert counters[b"memory.messages"] == b"1"
    assert counters[b"remote.due"] == b"1"
    assert counters[b"local.running"] == b"0"


def test_running_deliveries_of_messages_on_the_disk_are_told(stage: Stage) -> None:
    waiting(stage)
    order(stage, wire.RETRY, 7)
    stage.turn()
    packets = list(stage.desk.listing())
    assert [wire.fields(it) for it in packets if it[:1] == wire.OPEN] == [[b"7"]]


def test_the_books_are_closed_when_the_last_visitor_has_left(stage: Stage) -> None:
    waiting(stage)
    stage.desk.client_disconnected()
    assert stage.scheduler.channels[REMOTE].due.due_of(7) is None
    stage.desk.client_connected()
    assert stage.scheduler.channels[REMOTE].due.due_of(7) == NOW + 500
    assert stage.scheduler.channels[LOCAL].due.due_of(7) is None
