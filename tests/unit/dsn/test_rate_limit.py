"""No address gets more bounces in an hour than it may, and every one gets its turn."""

from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.dsn import rate_limit as bounce_limit
from eqmail_core.dsn.rate_limit import HOUR_S, BounceLimit


@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from([b"a@x", b"A@X", b"b@x"]), st.integers(0, 2000))))
def test_no_hour_exceeds_the_limit_and_waits_are_no_longer_than_needed(
    per_hour: int, steps: list[tuple[bytes, int]]
) -> None:
    limit, now = BounceLimit(per_hour), 0
    sent: dict[bytes, list[int]] = {b"a@x": [], b"b@x": []}
    for address, pause in steps:
        now += pause
        if wait_s := limit.wait_s(address, now):
            now += wait_s
            assert limit.wait_s(address, now) == 0
        sent[address.lower()].append(now)
    for times in sent.values():
        assert all(late - early >= HOUR_S for early, late in zip(times, times[per_hour:], strict=False))


def test_what_was_not_sent_does_not_count() -> None:
    limit = BounceLimit(1)
    assert not limit.wait_s(b"a@x", 0)
    limit.give_back(b"a@x")
    assert not limit.wait_s(b"a@x", 0)
    assert limit.wait_s(b"a@x", 1) == HOUR_S - 1
    limit.per_hour = 0
    assert not limit.wait_s(b"a@x", 1)


def test_addresses_served_longest_ago_are_forgotten() -> None:
    limit = BounceLimit(1)
    for number in range(bounce_limit._ADDRESSES + 1):
        assert not limit.wait_s(b"%d@x" % number, 0)
    assert not limit.wait_s(b"0@x", 0)
    assert limit.wait_s(b"2@x", 0)
