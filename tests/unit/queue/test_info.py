"""The file info/N: the mark in its time, and the names of deliveries that come of it."""

from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.queue.format.info import born_ns, delivery_name, mark_of

BIRTHS = st.integers(1, (1 << 32) - 1)
SERIALS = st.integers(0, (1 << 64) - 1)


@given(BIRTHS, SERIALS)
def test_birth_and_mark_come_back_however_the_time_is_read(birth: int, serial: int) -> None:
    time_ns = born_ns(birth, mark_of(serial))
    assert divmod(time_ns, 1_000_000_000) == (birth, mark_of(serial))
    assert int(time_ns / 1e9) == birth, "also by a reader that takes it for a floating-point number"
    assert mark_of(serial) > 0


@given(st.tuples(BIRTHS, st.integers(1), st.integers(1), st.integers(0)), st.data())
def test_names_differ_where_anything_does(one: tuple[int, int, int, int], data: st.DataObject) -> None:
    other = data.draw(st.tuples(BIRTHS, st.integers(1), st.integers(1), st.integers(0)))
    assert (delivery_name(*one) == delivery_name(*other)) == (one == other)


def test_messages_that_follow_each_other_have_different_marks() -> None:
    assert len({mark_of(serial) for serial in range(5000)}) == 5000


def test_without_a_mark_there_is_no_name() -> None:
    assert delivery_name(1, 0, 2, 3) == b""
