"""Retry times and the queue of what is due."""

from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.policy.schedule import LOCAL, REMOTE, DueQueue, next_retry

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
    assert next_retry(BIRTH + 500, BIRTH, LOCAL) == BIRTH + 500 + 100


def test_the_earliest_comes_first_and_nothing_before_its_time() -> None:
    due = DueQueue()
    for number, time in ((1, 300), (2, 100), (3, 200)):
        due.insert(number, time)
    assert due.take(99.9) is None
    assert [due.take(200), due.take(200), due.take(200)] == [2, 3, None]
    assert due.wakes_at() == 300


def test_hurry_makes_everything_due() -> None:
    due = DueQueue()
    due.insert(7, 5000)
    due.insert(8, 20)
    due.hurry(30)
    assert sorted([due.take(30), due.take(30)]) == [7, 8]
    assert len(due) == 0


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**40))))
def test_numbers_and_times_come_back_as_they_went_in(entries: list[tuple[int, int]]) -> None:
    due = DueQueue()
    for number, time in entries:
        due.insert(number, time)
    assert sorted(due) == sorted(entries)
    taken = [due.take(2**41) for _ in entries]
    assert taken == [number for number, _ in sorted(entries, key=lambda entry: (entry[1], entry[0]))]
