"""Children at a time: no more than may be, and each address in its turn."""

from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.event_loop.child_slots import ChildSlots, Slot


def test_many_requests_of_one_address_do_not_delay_another() -> None:
    slots = ChildSlots(1)
    begun: list[str] = []
    first = slots.enter(b"a", lambda: begun.append("a1"))
    many = [slots.enter(b"a", lambda: begun.append("a")) for _ in range(20)]
    other = slots.enter(b"b", lambda: begun.append("b"))
    assert begun == ["a1"]
    assert slots.waiting == 21
    first.leave()
    assert begun == ["a1", "a"]
    many[0].leave()
    assert begun == ["a1", "a", "b"]
    assert other.has_begun


def test_a_cancelled_request_never_starts_and_frees_its_slot_once() -> None:
    slots = ChildSlots(1)
    begun: list[str] = []
    first = slots.enter(b"a", lambda: begun.append("1"))
    second = slots.enter(b"a", lambda: begun.append("2"))
    third = slots.enter(b"a", lambda: begun.append("3"))
    second.leave()
    second.leave()
    first.leave()
    first.leave()
    assert begun == ["1", "3"]
    assert not slots.waiting
    third.leave()
    slots.enter(b"c", lambda: begun.append("4"))
    assert begun == ["1", "3", "4"]


@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(0, 30)), max_size=60))
def test_slots_never_exceed_the_limit_and_every_request_starts(most: int, steps: list[tuple[bytes, int]]) -> None:
    slots = ChildSlots(most)
    entered = []
    for address, which in steps:
        entered.append(slots.enter(address, lambda: None))
        entered[which % len(entered)].leave()
        running = [slot for slot in entered if slot.has_begun and not slot.is_over]
        waiting = [slot for slot in entered if not slot.has_begun and not slot.is_over]
        assert len(running) <= most
        assert not waiting or len(running) == most
        assert slots.waiting == len(waiting)


def test_one_address_has_no_more_than_its_share() -> None:
    slots = ChildSlots(4, 2)
    begun: list[str] = []

    def enter(name: str, address: bytes) -> Slot:
        return slots.enter(address, lambda: begun.append(name))

    first, *_ = [enter(f"a{count}", b"a") for count in range(5)]
    assert begun == ["a0", "a1"] and slots.waiting == 3
    others = [enter("b0", b"b"), enter("c0", b"c"), enter("c1", b"c")]
    assert begun == ["a0", "a1", "b0", "c0"], "others have the rest"
    others[0].leave()
    assert begun[4:] == ["c1"], "not the one that has its share"
    first.leave()
    assert begun[5:] == ["a2"]
