"""What administrators see of the scheduler, and what their orders do to its books and its files."""

import os
from pathlib import Path

import pytest

from eqmail_core.ipc import scheduler_control_protocol as wire
from eqmail_core.queue.admin.actions import stamp_of
from eqmail_core.queue.format.channels import HELD_UNTIL
from tests.support.scheduler_harness import LOCAL, NOW, REMOTE, SchedulerHarness

TWO = b"Ta@other.net\0Tb@other.net\0"


@pytest.fixture
def harness(tmp_path: Path) -> SchedulerHarness:
    it = SchedulerHarness(tmp_path)
    it.control.client_connected()
    return it


def order(harness: SchedulerHarness, verb: bytes, number: int, stamp: bytes = b"") -> list[bytes]:
    """Give an order; the results, which come later where the list is still empty."""
    results: list[bytes] = []
    harness.control.change(verb, number, stamp or stamp_of(harness.paths, number) or b"0", 1000, results.append)
    return results


def waiting(harness: SchedulerHarness, number: int = 7, **lists: bytes) -> None:
    harness.old(number, b"s@x", age_s=1000, due_s=500, **(lists or {"remote": TWO}))
    harness.scanner.find_old(int(harness.now))


def mtime(harness: SchedulerHarness, number: int = 7) -> int:
    return int(os.stat(harness.paths.channel("remote", number)).st_mtime)


def test_a_held_message_is_not_tried_until_it_is_released(harness: SchedulerHarness) -> None:
    waiting(harness)
    assert order(harness, wire.HOLD, 7) == [b"done"]
    assert mtime(harness) == HELD_UNTIL, "C's qmail-send would leave it alone too"
    harness.scheduler.retry_all()
    harness.turn(1_000_000)
    assert harness.running == []
    assert order(harness, wire.RELEASE, 7) == [b"done"]
    harness.turn()
    assert harness.running == [b"a@other.net", b"b@other.net"]
    assert harness.lines()[0] == "qmail-send: audit: uid 1000 hold msg 7 from <s@x>: done"


def test_a_message_is_held_after_its_running_deliveries(harness: SchedulerHarness) -> None:
    waiting(harness)
    order(harness, wire.RETRY, 7)
    harness.turn()
    assert order(harness, wire.HOLD, 7) == [b"busy"]
    harness.report(b"a@other.net", b"K")
    harness.report(b"b@other.net", b"Z", b"later")
    harness.turn(10_000)
    assert harness.running == []
    assert harness.files(7)["remote"] == b"Da@other.net\0Tb@other.net\0"
    assert mtime(harness) == HELD_UNTIL


def test_no_further_recipient_of_a_message_is_tried_once_it_is_held(tmp_path: Path) -> None:
    harness = SchedulerHarness(tmp_path, limits=(1, 1))
    harness.control.client_connected()
    waiting(harness)
    order(harness, wire.RETRY, 7)
    harness.turn()
    assert order(harness, wire.HOLD, 7) == [b"busy"]
    harness.report(b"a@other.net", b"K")
    harness.turn(10_000)
    assert harness.running == []
    assert harness.files(7)["remote"] == b"Da@other.net\0Tb@other.net\0"
    order(harness, wire.RELEASE, 7)
    harness.turn()
    assert harness.running == [b"b@other.net"]


def test_a_deleted_message_sends_no_bounce(harness: SchedulerHarness) -> None:
    waiting(harness, remote=TWO, local=b"Tj@example.org\0")
    Path(harness.paths.bounce(7)).write_bytes(b"<x@y>:\nno\n\n")
    assert order(harness, wire.DELETE, 7) == [b"done"]
    harness.turn(10_000)
    assert harness.files(7) == {}
    assert not os.path.exists(harness.paths.mess(7))
    assert harness.injector.bounces == []
    assert harness.running == []
    assert "end msg 7" in harness.lines()


def test_a_message_is_deleted_after_its_running_deliveries(harness: SchedulerHarness) -> None:
    waiting(harness, remote=TWO, local=b"Tj@example.org\0")
    order(harness, wire.RETRY, 7)
    harness.turn()
    assert order(harness, wire.DELETE, 7) == [b"busy"]
    harness.report(b"a@other.net", b"D", b"no")
    harness.report(b"b@other.net", b"Z", b"later")
    assert "remote" in harness.files(7)
    harness.report(b"j@example.org", b"Z", b"later")
    harness.turn(10_000)
    assert harness.files(7) == {}
    assert harness.injector.bounces == []


def test_a_returned_message_fails_for_waiting_recipients(harness: SchedulerHarness) -> None:
    waiting(harness, remote=b"Da@other.net\0Tb@other.net\0", local=b"Tv-c@virt.org\0")
    assert order(harness, wire.BOUNCE, 7) == [b"done"]
    harness.turn()
    [(_, recipient, text)] = harness.injector.bounces
    assert recipient == b"s@x"
    assert b"<b@other.net>:\n" in text
    assert b"<c@virt.org>:\n" in text, "as the sender knew it"
    assert b"a@other.net" not in text
    assert harness.files(7) == {}


def test_a_message_is_returned_after_its_running_deliveries(harness: SchedulerHarness) -> None:
    waiting(harness)
    order(harness, wire.RETRY, 7)
    harness.turn()
    assert order(harness, wire.BOUNCE, 7) == [b"busy"]
    harness.report(b"a@other.net", b"K")
    harness.report(b"b@other.net", b"Z", b"later")
    harness.turn()
    [(_, _, text)] = harness.injector.bounces
    assert b"<b@other.net>:\n" in text
    assert b"<a@other.net>" not in text
    assert harness.files(7) == {}


def test_changes_to_a_reused_number_are_refused(harness: SchedulerHarness) -> None:
    waiting(harness)
    assert order(harness, wire.DELETE, 7, b"12345") == [b"changed"]
    assert order(harness, wire.DELETE, 8) == [b"gone"]
    assert order(harness, wire.DELETE, 7, b"m1") == [b"changed"], "it was in memory when it was seen"
    assert harness.files(7) != {}


def test_a_message_that_is_not_preprocessed_stays_as_it_is(harness: SchedulerHarness) -> None:
    waiting(harness)
    harness.todo(7, b"Fs@x\0Ta@other.net\0")
    assert order(harness, wire.DELETE, 7) == [b"new"]
    assert harness.files(7)["remote"] == TWO


def test_a_message_in_memory_is_changed_on_the_disk(harness: SchedulerHarness) -> None:
    serial = harness.admit(9, b"Fs@x\0Ta@other.net\0")
    results = order(harness, wire.DELETE, 9, b"m%d" % serial)
    assert results == []
    harness.written(serial, 9)
    assert results == [b"done"]
    harness.turn(1000)
    assert harness.files(9) == {}
    assert harness.running == []
    assert harness.message_store.notices[-1] == ("placed", serial)


def test_a_message_in_memory_that_was_delivered_meanwhile_is_gone(harness: SchedulerHarness) -> None:
    serial = harness.admit(9, b"Fs@x\0Ta@other.net\0")
    harness.turn()
    results = order(harness, wire.HOLD, 9, b"m%d" % serial)
    harness.report(b"a@other.net", b"K")
    harness.written(serial, 9, ok=False)
    assert results == [b"gone"]


def test_a_failing_disk_leaves_the_message_as_it_was(
    harness: SchedulerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting(harness)

    def fails(*arguments: object, **options: object) -> None:
        raise OSError(28, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", fails)
        [result] = order(harness, wire.DELETE, 7)
    assert result.startswith(b"unable to unlink")
    assert harness.due_of(REMOTE, 7) == [500]
    assert harness.files(7)["remote"] == TWO


def test_the_listing_has_messages_in_memory_and_due_times(harness: SchedulerHarness) -> None:
    waiting(harness)
    serial = harness.admit(9, b"Fs@x\0Ta@other.net\0Tj@example.org\0")
    harness.turn()
    harness.report(b"j@example.org", b"K")
    packets = list(harness.control.listing())
    [message] = [wire.split_message(it) for it in packets if it[:1] == wire.MESSAGE]
    assert (message.serial, message.number, message.birth, message.sender) == (serial, 9, NOW, b"s@x")
    [recipients] = [wire.split_recipients(it) for it in packets if it[:1] == wire.RECIPIENTS]
    assert recipients == [("local", True, b"j@example.org"), ("remote", False, b"a@other.net")]
    [due] = [wire.split_due(it) for it in packets if it[:1] == wire.DUE]
    assert due == ("remote", [(7, NOW + 500)])
    counters = dict(pair for it in harness.control.counters() for pair in wire.split_pairs(it))
    assert counters[b"memory.messages"] == b"1"
    assert counters[b"remote.due"] == b"1"
    assert counters[b"local.running"] == b"0"


def test_running_deliveries_of_messages_on_the_disk_are_listed(harness: SchedulerHarness) -> None:
    waiting(harness)
    order(harness, wire.RETRY, 7)
    harness.turn()
    packets = list(harness.control.listing())
    assert [wire.fields(it) for it in packets if it[:1] == wire.OPEN] == [[b"7"]]


def test_listing_state_is_dropped_when_the_last_client_disconnects(harness: SchedulerHarness) -> None:
    waiting(harness)
    harness.control.client_disconnected()
    assert harness.scheduler.channels[REMOTE].due.due_of(7) is None
    harness.control.client_connected()
    assert harness.scheduler.channels[REMOTE].due.due_of(7) == NOW + 500
    assert harness.scheduler.channels[LOCAL].due.due_of(7) is None
