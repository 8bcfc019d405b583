"""The pipes of classic spawners."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.outcome import DeliveryResult
from eqmail_core.spawn.protocol import Command, CommandReader, rejection, report

FIELD = st.binary(max_size=5).map(lambda data: data.replace(b"\0", b"x"))


@given(st.lists(st.tuples(st.integers(0, 255), FIELD, FIELD, FIELD), max_size=4), st.integers(1, 7))
def test_commands_survive_any_fragmentation(commands: list[tuple[int, bytes, bytes, bytes]], size: int) -> None:
    stream = b"".join(bytes((number,)) + b"\0".join(parts) + b"\0" for number, *parts in commands)
    reader = CommandReader()
    found = [it for at in range(0, len(stream), size) for it in reader.feed(stream[at : at + size])]
    assert [(it.delnum, it.name, it.sender, it.recipient) for it in found] == commands


@pytest.mark.parametrize(
    ("name", "recipient", "letter"),
    [
        (b"1/24", b"a@b", b""),
        (b"../24", b"a@b", b"D"),
        (b"/1", b"a@b", b"D"),
        (b"", b"a@b", b"D"),
        (b"1/24", b"a", b"D"),
    ],
)
def test_only_numbers_and_addresses_pass(name: bytes, recipient: bytes, letter: bytes) -> None:
    problem = rejection(Command(0, name, b"", recipient))
    assert (problem.outcome if problem else b"") == letter


def test_a_report_ends_at_its_first_nul() -> None:
    assert report(7, DeliveryResult(b"K", b"done\0more")) == b"\x07Kdone\0"
