"""Senders who wish to hear of their messages, or not to: in memory, from memory to the disk, and from there on."""

import os
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import cast

import pytest

from eqmail_core.dsn.parameters import index_key
from eqmail_core.scheduler.ports import Delivery
from tests.support.scheduler_harness import Stage

RECIPIENTS = b"Ta@example.org\0Tb@other.net\0Tc@example.org\0"
WISHES = b"\0W E:id 0:s:rfc822;A@example.org 1:n: 2:sf:\0"
LISTS = {"local": b"Ta@example.org\0Tc@example.org\0", "remote": b"Tb@other.net\0"}
INFO = b"Fs@x\0W E:id l0:s:rfc822;A@example.org r0:n: l15:sf:\0"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def admit(stage: Stage, envelope: bytes = b"Fs@x\0" + RECIPIENTS + WISHES) -> int:
    serial = stage.admit(7, envelope)
    stage.turn()
    return serial


def reported(stage: Stage) -> dict[str, str]:
    """Actions by recipient, as the one report tells them."""
    [(_, recipient, text)] = stage.injector.bounces
    assert recipient == b"s@x"
    parts = cast("list[Message]", message_from_bytes(text).get_payload())
    status = cast("list[Message]", parts[1].get_payload())
    assert status[0]["Original-Envelope-Id"] == "id"
    return {it["Final-Recipient"].split("; ")[1]: it["Action"] for it in status[1:]}


def take_over(stage: Stage, recipient: bytes) -> None:
    (order,) = [order for order in stage.remote.orders if order[0].recipient == recipient]
    stage.remote.orders.remove(order)
    stage.scheduler.report(order[0], b"K", b"", True, True)


def test_success_is_told_to_those_who_asked(stage: Stage) -> None:
    admit(stage)
    stage.report(b"a@example.org", b"K", durable=False)
    settled = stage.report(b"c@example.org", b"K")
    assert isinstance(settled, Delivery)
    stage.report(b"b@other.net", b"K")
    stage.turn()
    assert not stage.injector.bounces
    (held,) = stage.held.messages.values()
    stage.scheduler.mark_durable(Delivery(held.jobs[0], 0, b"a@example.org", 0))
    assert reported(stage) == {"c@example.org": "delivered", "a@example.org": "delivered"}
    assert stage.keeper.told == [("finished", 1)]


def test_failure_is_told_unless_it_is_not_wished(stage: Stage) -> None:
    admit(stage)
    for recipient in (b"a@example.org", b"b@other.net", b"c@example.org"):
        stage.report(recipient, b"D", b"no (#5.1.1)\n")
    stage.turn()
    assert reported(stage) == {"c@example.org": "failed"}


def test_nothing_is_told_when_nobody_wants_to_hear_it(stage: Stage) -> None:
    admit(stage, b"Fs@x\0Tb@other.net\0\0W 0:n:\0")
    stage.report(b"b@other.net", b"D", b"no (#5.1.1)\n")
    stage.turn()
    assert not stage.injector.bounces
    assert stage.keeper.told == [("finished", 1)]


def test_who_takes_the_message_over_tells_of_it(stage: Stage) -> None:
    admit(stage, b"Fs@x\0Tb@other.net\0Td@other.net\0\0W E:id 0:s: 1:s:\0")
    take_over(stage, b"b@other.net")
    stage.report(b"d@other.net", b"K")
    stage.turn()
    assert reported(stage) == {"d@other.net": "relayed"}


@pytest.mark.parametrize("sender", [b"", b"#@[]"])
def test_nobody_is_told_of_the_success_of_a_bounce(stage: Stage, sender: bytes) -> None:
    admit(stage, b"F%b\0Ta@example.org\0\0W 0:s:\0" % sender)
    stage.report(b"a@example.org", b"K")
    stage.turn()
    assert not stage.injector.bounces


def test_an_order_has_the_wishes_of_its_recipient_alone(stage: Stage) -> None:
    admit(stage)
    orders = [order for order, _ in (*stage.local.orders, *stage.remote.orders)]
    texts = {order.recipient: order.job.dsn_text(order.offset) for order in orders}
    assert texts == {
        b"a@example.org": b"W E:id 0:s:rfc822;A@example.org",
        b"b@other.net": b"W E:id 0:n:",
        b"c@example.org": b"W E:id 0:sf:",
    }


def test_wishes_go_to_the_disk_with_the_message_and_count_there(stage: Stage) -> None:
    serial = admit(stage)
    stage.report(b"b@other.net", b"K")
    stage.report(b"a@example.org", b"K")
    stage.report(b"c@example.org", b"Z", b"later")
    stage.turn()
    stage.written(serial, 7)
    files = stage.files(7)
    assert files["info"] == INFO
    assert files["local"] == b"Da@example.org\0Tc@example.org\0"
    assert b"The message was delivered" in files["bounce"]
    stage.turn(3600)
    stage.report(b"c@example.org", b"D", b"no (#5.1.1)\n")
    stage.turn()
    assert reported(stage) == {"a@example.org": "delivered", "c@example.org": "failed"}
    assert not stage.files(7)


def test_wishes_in_todo_become_those_of_the_lists(stage: Stage) -> None:
    stage.message(7)
    Path(stage.paths.todo(7)).write_bytes(b"u7\0p42 %b\0Fs@x\0%b" % (WISHES[1:-1], RECIPIENTS))
    stage.arrivals.triggered()
    stage.turn()
    assert stage.files(7) == {"info": INFO, **LISTS}
    assert "info msg 7: bytes 17 from <s@x> qp 42 uid 7" in stage.lines()
    stage.report(b"a@example.org", b"K")
    stage.report(b"b@other.net", b"D", b"no")
    stage.report(b"c@example.org", b"K")
    stage.turn()
    assert reported(stage) == {"a@example.org": "delivered", "c@example.org": "delivered"}


def test_a_later_scheduler_finds_them(stage: Stage) -> None:
    stage.old(7, b"s@x", local=LISTS["local"], remote=LISTS["remote"])
    Path(stage.paths.info(7)).write_bytes(INFO)
    os.utime(stage.paths.info(7), (stage.now, stage.now))
    stage.arrivals.find_old(int(stage.now))
    stage.turn()
    for recipient in (b"a@example.org", b"b@other.net", b"c@example.org"):
        stage.report(recipient, b"D", b"no (#5.1.1)\n")
    stage.turn()
    assert reported(stage) == {"c@example.org": "failed"}


def test_wishes_of_very_many_recipients(stage: Stage) -> None:
    count = 3000
    recipients = b"".join(b"Tr%d@example.org\0" % number for number in range(count))
    wishes = b" ".join(b"%b:n:" % index_key(number) for number in range(count))
    Path(stage.paths.todo(7)).write_bytes(b"u7\0p42 W %b\0Fs@x\0%b" % (wishes, recipients))
    stage.message(7)
    stage.arrivals.triggered()
    stage.turn()
    _, _, found = stage.ledger.info(7)
    assert found is not None
    assert len(found.recipients) == count
    assert [order.job.recipient_dsn(order.offset).notify for order, _ in stage.local.orders] == [b"n"] * 10


def test_a_returned_message_is_returned_to_those_who_wish_it(stage: Stage) -> None:
    stage.old(7, b"s@x", local=LISTS["local"], remote=LISTS["remote"])
    Path(stage.paths.info(7)).write_bytes(INFO)
    stage.arrivals.find_old(int(stage.now))
    stage.local.open = stage.remote.open = False
    stage.turn()
    results: list[bytes] = []
    stamp = b"%d" % os.stat(stage.paths.info(7)).st_ctime_ns
    stage.desk.change(b"bounce", 7, stamp, 0, results.append)
    stage.turn()
    assert reported(stage) == {"c@example.org": "failed"}
