"""Retry times and the queue of what is due."""

from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.queue.format.channels import HELD_UNTIL, LOCAL, REMOTE
from eqmail_core.scheduler.due_queue import DueQueue
from eqmail_core.scheduler.retry_schedule import RetrySchedule, next_in_steps, next_retry

BIRTH = 1_000_000_000


def attempts(channel: int, count: int) -> list[int]:
    """Seconds after birth of the attempts that follow the first, if each is made as soon as it is due."""
    now, ages = BIRTH, []
    for _ in range(count):
        now = next_retry(BIRTH, now, channel)
        ages.append(now - BIRTH)
    return ages


def test_local_mail_is_retried_after_100_400_900_seconds() -> None:
    assert attempts(LOCAL, 4) == [100, 400, 900, 1600]


def test_remote_mail_is_retried_after_400_1600_3600_seconds() -> None:
    assert attempts(REMOTE, 3) == [400, 1600, 3600]


def test_a_birth_in_the_future_counts_as_now() -> None:
    assert next_retry(BIRTH + 500, BIRTH, LOCAL) == BIRTH + 100


def test_the_earliest_comes_first_and_nothing_before_its_time() -> None:
    due = DueQueue()
    for number, time in ((1, 300), (2, 100), (3, 200)):
        due.insert(number, time)
    assert due.pop_due(99.9) is None
    assert [due.pop_due(200), due.pop_due(200), due.pop_due(200)] == [2, 3, None]
    assert due.wakes_at() == 300


def test_a_forced_retry_makes_everything_due() -> None:
    due = DueQueue()
    due.insert(7, 5000)
    due.insert(8, 20)
    due.retry_all(30)
    assert sorted([due.pop_due(30), due.pop_due(30)]) == [7, 8]
    assert len(due) == 0


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**40))))
def test_entries_survive_a_round_trip(entries: list[tuple[int, int]]) -> None:
    due = DueQueue()
    for number, time in entries:
        due.insert(number, time)
    assert sorted(due) == sorted(entries)
    taken = [due.pop_due(2**41) for _ in entries]
    assert taken == [number for number, _ in sorted(entries, key=lambda entry: (entry[1], entry[0]))]


def test_the_interval_follows_from_the_age_and_the_last_one_repeats() -> None:
    pauses = [next_in_steps((300, 1200, 3600), BIRTH, BIRTH + age) - BIRTH - age for age in (0, 299, 300, 1499, 1500)]
    assert pauses == [300, 300, 1200, 1200, 3600]
    assert next_in_steps((300, 1200, 3600), BIRTH, BIRTH + 10**6) == BIRTH + 10**6 + 3600


def test_without_intervals_the_pauses_grow_as_in_every_qmail() -> None:
    assert RetrySchedule(100).next_attempt(BIRTH, BIRTH, REMOTE) == BIRTH + 400
    assert RetrySchedule(100, (60,)).next_attempt(BIRTH, BIRTH, REMOTE) == BIRTH + 60


def test_domains_may_have_lifetimes_of_their_own() -> None:
    schedule = RetrySchedule(100, (), {b"short.org": 10, b".example": 50})
    ages = {
        recipient: schedule.is_over(60, recipient) for recipient in (b"a@Short.org", b"a@x.y.example", b"a@other.org")
    }
    assert ages == {b"a@Short.org": True, b"a@x.y.example": True, b"a@other.org": False}
    assert not schedule.is_over(10, b"a@short.org"), "the lifetime itself is still time"
    assert schedule.is_over(101, b"a@example")
    assert RetrySchedule(100).is_over(101, b"a@short.org")


def test_held_messages_ignore_a_forced_retry() -> None:
    due = DueQueue()
    due.insert(7, HELD_UNTIL)
    due.retry_all(30)
    assert due.pop_due(30) is None
    assert due.wakes_at() == HELD_UNTIL


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["insert", "move", "remove", "take", "hurry"]), st.integers(0, 9), st.integers(0, 99)),
    max_size=60,
)


@given(OPERATIONS)
def test_entries_that_move_or_go_leave_no_trace(operations: list[tuple[str, int, int]]) -> None:
    due = DueQueue()
    due.index()
    model: dict[int, int] = {}
    for what, number, time in operations:
        if what == "insert" and number not in model:
            due.insert(number, time)
            model[number] = time
        elif what == "move":
            assert due.move(number, time) == (number in model)
            if number in model:
                model[number] = time
        elif what == "remove":
            assert due.remove(number) == (model.pop(number, None) is not None)
        elif what == "take":
            first = min(((at, it) for it, at in model.items() if at <= time), default=None)
            assert due.pop_due(time) == (first[1] if first else None)
            if first:
                del model[first[1]]
        elif what == "hurry":
            due.retry_all(time)
            model = dict.fromkeys(model, time)
        assert dict(due) == dict(due.snapshot()) == model
        assert len(due) == len(model)
        assert due.wakes_at() == min(model.values(), default=None)
        assert due.due_of(number) == model.get(number)


def test_many_moves_do_not_make_the_queue_grow() -> None:
    due = DueQueue()
    for number in range(100):
        due.insert(number, number)
    due.index()
    for time in range(100):
        for number in range(100):
            assert due.move(number, 1000 + (number * 37 + time) % 500)
    assert len(due) == 100
    assert len(due._heap) < 500
    model = {number: 1000 + (number * 37 + 99) % 500 for number in range(100)}
    assert dict(due) == model
    taken = [due.pop_due(2000) for _ in range(100)]
    assert taken == sorted(model, key=lambda number: (model[number], number))


def test_a_large_queue_keeps_its_order_when_much_is_removed() -> None:
    due = DueQueue()
    times = {number: (number * 7919) % 10_007 for number in range(2000)}
    for number, time in times.items():
        due.insert(number, time)
    due.index()
    for number in range(0, 2000, 3):
        assert due.remove(number)
        del times[number]
    for number in range(1, 2000, 3):
        assert due.remove(number)
        del times[number]
    assert len(due._heap) < 1500, "what was removed does not stay"
    assert due.wakes_at() == min(times.values())
    taken = [due.pop_due(10_007) for _ in times]
    assert taken == sorted(times, key=lambda number: (times[number], number))
    assert due.pop_due(10_007) is None


def test_a_message_is_taken_out_as_often_as_it_is_there() -> None:
    due = DueQueue()
    for number, time in ((1, 30), (2, 20), (1, 10), (3, 5)):
        due.insert(number, time)
    due.discard(1)
    assert [due.pop_due(99), due.pop_due(99), due.pop_due(99)] == [3, 2, None]
