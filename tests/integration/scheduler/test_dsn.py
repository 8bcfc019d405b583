"""DSN parameters of senders: in memory, from memory to the disk, and from there on."""

import os
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import cast

import pytest

from eqmail_core.outcome import DSN_RELAYED, DeliveryResult
from eqmail_core.scheduler.ports import Delivery
from tests.support.scheduler_harness import SchedulerHarness

RECIPIENTS = b"Ta@example.org\0Tb@other.net\0Tc@example.org\0"
DSN = b"\0W E:id 0:s:rfc822;A@example.org 1:n: 2:sf:\0"
LISTS = {"local": b"Ta@example.org\0Tc@example.org\0", "remote": b"Tb@other.net\0"}
INFO = b"Fs@x\0W E:id l0:s:rfc822;A@example.org r0:n: l15:sf:\0"


@pytest.fixture
def harness(tmp_path: Path) -> SchedulerHarness:
    return SchedulerHarness(tmp_path)


def admit(harness: SchedulerHarness, envelope: bytes = b"Fs@x\0" + RECIPIENTS + DSN) -> int:
    serial = harness.admit(7, envelope)
    harness.turn()
    return serial


def reported(harness: SchedulerHarness) -> dict[str, str]:
    """Actions by recipient in the one report."""
    [(_, recipient, text)] = harness.injector.bounces
    assert recipient == b"s@x"
    parts = cast("list[Message]", message_from_bytes(text).get_payload())
    status = cast("list[Message]", parts[1].get_payload())
    assert status[0]["Original-Envelope-Id"] == "id"
    return {it["Final-Recipient"].split("; ")[1]: it["Action"] for it in status[1:]}


def relay_with_dsn(harness: SchedulerHarness, recipient: bytes) -> None:
    (order,) = [order for order in harness.remote.orders if order[0].recipient == recipient]
    harness.remote.orders.remove(order)
    harness.scheduler.results.report(order[0], DeliveryResult(b"K", b"", DSN_RELAYED))


def test_success_is_reported_where_requested(harness: SchedulerHarness) -> None:
    admit(harness)
    harness.report(b"a@example.org", b"K", durable=False)
    settled = harness.report(b"c@example.org", b"K")
    assert isinstance(settled, Delivery)
    harness.report(b"b@other.net", b"K")
    harness.turn()
    assert not harness.injector.bounces
    (held,) = harness.held.messages.values()
    harness.scheduler.results.mark_durable(Delivery(held.jobs[0], 0, b"a@example.org", 0))
    assert reported(harness) == {"c@example.org": "delivered", "a@example.org": "delivered"}
    assert harness.message_store.notices == [("finished", 1)]


def test_failure_is_reported_unless_excluded(harness: SchedulerHarness) -> None:
    admit(harness)
    for recipient in (b"a@example.org", b"b@other.net", b"c@example.org"):
        harness.report(recipient, b"D", b"no (#5.1.1)\n")
    harness.turn()
    assert reported(harness) == {"c@example.org": "failed"}


def test_no_report_where_notify_is_never(harness: SchedulerHarness) -> None:
    admit(harness, b"Fs@x\0Tb@other.net\0\0W 0:n:\0")
    harness.report(b"b@other.net", b"D", b"no (#5.1.1)\n")
    harness.turn()
    assert not harness.injector.bounces
    assert harness.message_store.notices == [("finished", 1)]


def test_a_server_with_dsn_sends_the_report_itself(harness: SchedulerHarness) -> None:
    admit(harness, b"Fs@x\0Tb@other.net\0Td@other.net\0\0W E:id 0:s: 1:s:\0")
    relay_with_dsn(harness, b"b@other.net")
    harness.report(b"d@other.net", b"K")
    harness.turn()
    assert reported(harness) == {"d@other.net": "relayed"}


@pytest.mark.parametrize("sender", [b"", b"#@[]"])
def test_no_success_report_for_a_bounce(harness: SchedulerHarness, sender: bytes) -> None:
    admit(harness, b"F%b\0Ta@example.org\0\0W 0:s:\0" % sender)
    harness.report(b"a@example.org", b"K")
    harness.turn()
    assert not harness.injector.bounces


def test_a_request_has_the_dsn_parameters_of_its_recipient_only(harness: SchedulerHarness) -> None:
    admit(harness)
    orders = [order for order, _ in (*harness.local.orders, *harness.remote.orders)]
    texts = {order.recipient: order.job.dsn_text(order.offset) for order in orders}
    assert texts == {
        b"a@example.org": b"W E:id 0:s:rfc822;A@example.org",
        b"b@other.net": b"W E:id 0:n:",
        b"c@example.org": b"W E:id 0:sf:",
    }


def test_dsn_parameters_go_to_the_disk_with_the_message_and_apply_there(harness: SchedulerHarness) -> None:
    serial = admit(harness)
    harness.report(b"b@other.net", b"K")
    harness.report(b"a@example.org", b"K")
    harness.report(b"c@example.org", b"Z", b"later")
    harness.turn()
    harness.written(serial, 7)
    files = harness.files(7)
    assert files["info"] == INFO
    assert files["local"] == b"Da@example.org\0Tc@example.org\0"
    assert b"The message was delivered" in files["bounce"]
    harness.turn(3600)
    harness.report(b"c@example.org", b"D", b"no (#5.1.1)\n")
    harness.turn()
    assert reported(harness) == {"a@example.org": "delivered", "c@example.org": "failed"}
    assert not harness.files(7)


def test_dsn_parameters_in_todo_move_to_the_lists(harness: SchedulerHarness) -> None:
    harness.message(7)
    Path(harness.paths.todo(7)).write_bytes(b"u7\0p42 %b\0Fs@x\0%b" % (DSN[1:-1], RECIPIENTS))
    harness.scanner.triggered()
    harness.turn()
    assert harness.files(7) == {"info": INFO, **LISTS}
    assert "info msg 7: bytes 17 from <s@x> qp 42 uid 7" in harness.lines()
    harness.report(b"a@example.org", b"K")
    harness.report(b"b@other.net", b"D", b"no")
    harness.report(b"c@example.org", b"K")
    harness.turn()
    assert reported(harness) == {"a@example.org": "delivered", "c@example.org": "delivered"}


def test_a_later_scheduler_finds_the_dsn_parameters(harness: SchedulerHarness) -> None:
    harness.old(7, b"s@x", local=LISTS["local"], remote=LISTS["remote"])
    Path(harness.paths.info(7)).write_bytes(INFO)
    os.utime(harness.paths.info(7), (harness.now, harness.now))
    harness.scanner.find_old(int(harness.now))
    harness.turn()
    for recipient in (b"a@example.org", b"b@other.net", b"c@example.org"):
        harness.report(recipient, b"D", b"no (#5.1.1)\n")
    harness.turn()
    assert reported(harness) == {"c@example.org": "failed"}


def test_dsn_parameters_of_very_many_recipients(harness: SchedulerHarness) -> None:
    count = 3000
    recipients = b"".join(b"Tr%d@example.org\0" % number for number in range(count))
    dsn = b" ".join(b"%d:n:" % number for number in range(count))
    Path(harness.paths.todo(7)).write_bytes(b"u7\0p42 W %b\0Fs@x\0%b" % (dsn, recipients))
    harness.message(7)
    harness.scanner.triggered()
    harness.turn()
    found = harness.queue_files.info(7).dsn
    assert found is not None
    assert len(list(found.all_recipients())) == count
    assert [order.job.recipient_dsn(order.offset).notify for order, _ in harness.local.orders] == [b"n"] * 10


def test_a_returned_message_follows_notify(harness: SchedulerHarness) -> None:
    harness.old(7, b"s@x", local=LISTS["local"], remote=LISTS["remote"])
    Path(harness.paths.info(7)).write_bytes(INFO)
    harness.scanner.find_old(int(harness.now))
    harness.local.open = harness.remote.open = False
    harness.turn()
    results: list[bytes] = []
    stamp = b"%d" % os.stat(harness.paths.info(7)).st_ctime_ns
    harness.control.change(b"bounce", 7, stamp, 0, results.append)
    harness.turn()
    assert reported(harness) == {"c@example.org": "failed"}
