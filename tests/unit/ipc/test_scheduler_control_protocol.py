"""The control protocol of the scheduler: round trips and malformed input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.ipc import scheduler_control_protocol as wire

TEXT = st.binary(max_size=20).map(lambda text: text.replace(b"\0", b""))
RECIPIENTS = st.lists(st.tuples(st.sampled_from(["local", "remote"]), st.booleans(), TEXT), max_size=50)


@given(TEXT, RECIPIENTS, st.booleans())
def test_a_message_survives_a_round_trip(
    sender: bytes, recipients: list[tuple[str, bool, bytes]], bounces: bool
) -> None:
    it = wire.MemoryMessageRecord(2**63, 12, 1_700_000_000, 99, sender, bounces)
    it.recipients = recipients
    first, *more = wire.message_packets(it)
    back = wire.split_message(first)
    assert (back.serial, back.number, back.birth, back.size) == (it.serial, it.number, it.birth, it.size)
    assert (back.sender, back.bounces) == (sender, bounces)
    assert [recipient for packet in more for recipient in wire.split_recipients(packet)] == recipients


def test_long_lists_take_several_packets_that_fit() -> None:
    times = [(number, 4_102_444_800) for number in range(100_000)]
    packets = list(wire.due_packets("remote", times))
    assert max(map(len, packets)) < 65536
    assert [pair for packet in packets for pair in wire.split_due(packet)[1]] == times


def test_changes_survive_a_round_trip() -> None:
    targets = [(number, b"m%d" % number if number % 2 else b"%d" % number) for number in range(wire.MAX_TARGETS)]
    assert wire.split_change(wire.change_request(wire.HOLD, targets)) == (wire.HOLD, targets)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"?",
        b"hold",
        b"burn\0001 2\0",
        b"hold\0001\0",
        b"hold\0x y\0",
        b"hold\0001 2",
        b"hold\0001 n2\0",
        b"hold\0-1 2\0",
        b"hold\0" + b"1 2\0" * (wire.MAX_TARGETS + 1),
        b"hold\0" + b"9" * 5000 + b" 1\0",
    ],
)
def test_malformed_changes_are_refused(packet: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        wire.split_change(packet)
