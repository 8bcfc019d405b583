"""Packets between the scheduler and those who deliver: each reads what the other renders, and refuses the rest."""

import struct

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
from eqmail_core.outcome import DSN_RELAYED, DURABLE, EXPANDED, NOT_DURABLE, DeliveryResult, Disposition

numbers = st.integers(0, 2**64 - 1)
texts = st.binary(max_size=20).filter(lambda text: b"\0" not in text)


@given(numbers, numbers, texts, texts, texts, texts, numbers)
def test_a_request_survives_a_round_trip(
    serial: int, number: int, name: bytes, sender: bytes, recipient: bytes, dsn: bytes, epoch: int
) -> None:
    it = split_order(order(DeliveryRequest(serial, number, name, sender, recipient, dsn, epoch)))
    assert (it.serial, it.number, it.name, it.sender, it.recipient, it.dsn, it.epoch) == (
        (serial, number, name, sender, recipient, dsn, epoch)
    )


@given(
    numbers,
    st.sampled_from([NOT_DURABLE, DURABLE, DSN_RELAYED, EXPANDED]),
    st.sampled_from([b"K", b"Z", b"D"]),
    st.binary(max_size=50),
    st.lists(numbers, max_size=9),
)
def test_reports_survive_a_round_trip(
    serial: int, disposition: Disposition, letter: bytes, text: bytes, serials: list[int]
) -> None:
    result = DeliveryResult(letter, text, disposition)
    assert split_report(report(serial, result)) == (serial, result)
    assert split_durable(durable(serials)) == tuple(serials)


@pytest.mark.parametrize(
    ("disposition", "flags"), [(NOT_DURABLE, 0), (DURABLE, 1), (DSN_RELAYED, 1 | 2), (EXPANDED, 1 | 4)]
)
def test_a_disposition_is_flags_on_the_wire(disposition: Disposition, flags: int) -> None:
    assert (
        report(7, DeliveryResult(b"K", b"did\n", disposition)) == b"R" + struct.pack("<QBc", 7, flags, b"K") + b"did\n"
    )


@pytest.mark.parametrize("flags", [2, 4, 6, 7, 8, 255])
def test_flags_that_no_service_sets_are_refused(flags: int) -> None:
    with pytest.raises(ValueError, match="not a report"):
        split_report(b"R" + struct.pack("<QBc", 7, flags, b"K"))


@pytest.mark.parametrize("split", [split_order, split_report, split_durable])
@given(
    packet=st.binary(max_size=40)
    | st.sampled_from([order(DeliveryRequest(1, 2, b"", b"", b"")), report(1, DeliveryResult(b"K", b"")), durable([1])])
)
def test_any_other_packet_is_refused(split: object, packet: bytes) -> None:
    kind = {split_order: b"D", split_report: b"R", split_durable: b"Y"}[split]  # type: ignore[index]
    try:
        split(packet)  # type: ignore[operator]
    except ValueError:
        return
    assert packet[:1] == kind
