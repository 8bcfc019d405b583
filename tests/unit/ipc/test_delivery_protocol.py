"""Packets between the scheduler and those who deliver: each reads what the other renders, and refuses the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.ipc.delivery_protocol import (
    DeliveryRequest,
    durable,
    order,
    report,
    split_durable,
    split_order,
    split_report,
)

numbers = st.integers(0, 2**64 - 1)
texts = st.binary(max_size=20).filter(lambda text: b"\0" not in text)


@given(numbers, numbers, texts, texts, texts, texts)
def test_an_order_is_read_as_it_was_given(
    serial: int, number: int, name: bytes, sender: bytes, recipient: bytes, dsn: bytes
) -> None:
    it = split_order(order(DeliveryRequest(serial, number, name, sender, recipient, dsn)))
    assert (it.serial, it.number, it.name, it.sender, it.recipient, it.dsn) == (
        (serial, number, name, sender, recipient, dsn)
    )


@given(
    numbers, st.booleans(), st.sampled_from([b"K", b"Z", b"D"]), st.binary(max_size=50), st.lists(numbers, max_size=9)
)
def test_reports_are_read_as_they_were_given(
    serial: int, is_durable: bool, letter: bytes, text: bytes, serials: list[int]
) -> None:
    assert split_report(report(serial, is_durable, letter, text)) == (serial, int(is_durable), letter, text)
    assert split_durable(durable(serials)) == tuple(serials)


@pytest.mark.parametrize("split", [split_order, split_report, split_durable])
@given(
    packet=st.binary(max_size=40)
    | st.sampled_from([order(DeliveryRequest(1, 2, b"", b"", b"")), report(1, True, b"K", b""), durable([1])])
)
def test_any_other_packet_is_refused(split: object, packet: bytes) -> None:
    kind = {split_order: b"D", split_report: b"R", split_durable: b"Y"}[split]  # type: ignore[index]
    try:
        split(packet)  # type: ignore[operator]
    except ValueError:
        return
    assert packet[:1] == kind
