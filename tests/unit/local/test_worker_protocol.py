"""The wire between the spawner and its agents."""

import pytest

from eqmail_core.local.service import protocol as wire
from eqmail_core.outcome import NOT_DURABLE, DeliveryResult
from eqmail_core.users.user import User

JOE = User(b"joe", 5, 6, b"/home/joe", b"-", b"list")


def order(number: int, fd: int) -> wire.AgentOrder:
    return wire.AgentOrder(number, b"1.X", b"joe-list", b"h", b"s@x", JOE, fd)


def test_orders_survive_a_round_trip_with_their_descriptors() -> None:
    got = wire.split_orders(b"".join(wire.order(order(n, n)) for n in (1, 2, 3)), [10, 11])
    assert [(it.number, it.name, it.local, it.host, it.sender, it.user) for it in got] == [
        (n, b"1.X", b"joe-list", b"h", b"s@x", JOE) for n in (1, 2, 3)
    ]
    assert [it.fd for it in got] == [10, 11, -1]


def test_reports_survive_a_round_trip_in_order() -> None:
    done, later = DeliveryResult(b"K", b"did\n", NOT_DURABLE), DeliveryResult(b"Z", b"no")
    packet = wire.report(1, done) + wire.durable(1) + wire.report(2, later) + wire.hand_back(3)
    assert packet.split(b"\0") == [b"1", b"0Kdid\n", b"1", b"Y", b"2", b"1Zno", b"3", b"P", b""]
    expected = [(1, done), (1, wire.BECAME_DURABLE), (2, later), (3, wire.PERSONAL)]
    assert wire.split_reports(packet) == expected


@pytest.mark.parametrize("packet", [b"x\0Y\0", b"1\0"])
def test_malformed_input_is_refused(packet: bytes) -> None:
    with pytest.raises(ValueError):
        wire.split_reports(packet)


def test_an_order_that_is_cut_short_is_refused() -> None:
    with pytest.raises(ValueError, match="cut short"):
        wire.split_orders(wire.order(order(1, 1))[:-5], [10])


def test_questions_survive_a_round_trip_and_are_no_orders() -> None:
    assert wire.split_questions(wire.questions([(1, JOE), (2, JOE)])) == [(1, JOE), (2, JOE)]
    assert wire.split_questions(wire.order(order(1, -1))) == []
