"""The wire between the spawner and its agents."""

import pytest

from eqmail_core.protocols import agent_wire as wire


def test_orders_come_back_with_their_descriptors() -> None:
    sent = [wire.AgentOrder(n, b"1.X", b"joe", b"", b"h", b"s@x", n) for n in (1, 2, 3)]
    got = wire.split_orders(b"".join(map(wire.order, sent)), [10, 11])
    assert [(it.number, it.name, it.local, it.ext, it.host, it.sender) for it in got] == [
        (n, b"1.X", b"joe", b"", b"h", b"s@x") for n in (1, 2, 3)
    ]
    assert [it.fd for it in got] == [10, 11, -1]


def test_reports_come_back_in_order() -> None:
    packet = wire.report(1, False, b"Kdid\n") + wire.settled(1) + wire.report(2, True, b"Zno")
    assert wire.split_reports(packet) == [(1, b"0Kdid\n"), (1, wire.DURABLE), (2, b"1Zno")]


@pytest.mark.parametrize("packet", [b"x\0Y\0", b"1\0"])
def test_nonsense_is_refused(packet: bytes) -> None:
    with pytest.raises(ValueError):
        wire.split_reports(packet)


def test_questions_come_back_and_are_no_orders() -> None:
    assert wire.split_questions(wire.questions([(1, b""), (2, b"list")])) == [(1, b""), (2, b"list")]
    assert wire.split_questions(wire.order(wire.AgentOrder(1, b"", b"joe", b"", b"h", b"s@x", -1))) == []
