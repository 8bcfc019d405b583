"""The identity of messages with one number, and the delivery names made from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.mail.message_identity import MessageIdentity

BIRTHS = st.integers(1, (1 << 32) - 1)
SERIALS = st.integers(0, (1 << 64) - 1)


@given(BIRTHS, SERIALS)
def test_birth_and_mark_come_back_however_the_time_is_read(birth: int, serial: int) -> None:
    message = MessageIdentity.accepted(7, birth, serial)
    found = MessageIdentity.on_disk(7, message.born_ns)
    assert (found.birth, found.mark) == (birth, message.mark)
    assert int(message.born_ns / 1e9) == birth, "also by a reader that takes it for a floating-point number"
    assert message.mark > 0


@given(st.tuples(BIRTHS, st.integers(1), st.integers(1), st.integers(0)), st.data())
def test_names_differ_where_anything_does(one: tuple[int, int, int, int], data: st.DataObject) -> None:
    other = data.draw(st.tuples(BIRTHS, st.integers(1), st.integers(1), st.integers(0)))
    names = [MessageIdentity(number, birth, mark).delivery_name(at) for birth, mark, number, at in (one, other)]
    assert (names[0] == names[1]) == (one == other)


def test_messages_that_follow_each_other_have_different_marks() -> None:
    assert len({MessageIdentity.accepted(1, 2, serial).mark for serial in range(5000)}) == 5000


def test_without_a_mark_there_is_no_name() -> None:
    assert MessageIdentity(2, 1).delivery_name(3) == b""


def test_a_message_is_found_again_also_where_nanoseconds_are_not_stored() -> None:
    message = MessageIdentity(7, 1_700_000_000, 123)
    assert message.is_same(MessageIdentity.on_disk(7, 1_700_000_000_000_000_123))
    assert message.is_same(MessageIdentity.on_disk(7, 1_700_000_000_000_000_000))
    assert not message.is_same(MessageIdentity.on_disk(7, 1_700_000_000_000_000_124))
    assert not message.is_same(MessageIdentity.on_disk(7, 1_700_000_001_000_000_123))
    assert not message.is_same(MessageIdentity.on_disk(8, 1_700_000_000_000_000_123))


@pytest.mark.parametrize(
    "text", [b"", b".", b"1", b"1.", b".1", b"x.1", b"1.x", b"-1.2", b"0.5", b"1" * 21 + b".1", b"1." + b"1" * 10]
)
def test_other_texts_give_no_identity(text: bytes) -> None:
    assert MessageIdentity.from_born_text(7, text) is None


@given(BIRTHS, st.integers(0, 999_999_999))
def test_the_text_of_todo_is_read_as_it_was_rendered(birth: int, mark: int) -> None:
    found = MessageIdentity.from_born_text(7, MessageIdentity(7, birth, mark).born_text())
    assert found is not None
    assert (found.number, found.birth, found.mark) == (7, birth, mark)
