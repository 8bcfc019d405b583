"""What submitters have used of their limits: bursts, periods, bounds, the file, and clocks that are set."""

from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.control.submission_limits import LOGIN, UID, parse_submission_limits
from eqmail_core.queue.limits.usage import Subject, UsageTable, parse_usage, render_usage

JOE = Subject(LOGIN, b"joe")


def table_of(*lines: bytes, capacity: int = 1000) -> UsageTable:
    table, wrong = parse_submission_limits(lines)
    assert not wrong
    return UsageTable(table, capacity)


def test_a_burst_passes_and_then_the_rate_counts() -> None:
    usage = table_of(b"login * messages=3+60/h")
    assert [usage.spend([JOE], 1, 1000.0) is None for _ in range(4)] == [True, True, True, False]
    assert usage.spend([JOE], 1, 1059.0) is not None
    assert usage.spend([JOE], 1, 1060.0) is None
    assert usage.spend([JOE], 1, 1060.0) is not None


@given(st.lists(st.tuples(st.floats(0, 600), st.integers(1, 9)), max_size=200))
def test_no_period_has_more_than_burst_and_rate(steps: list[tuple[float, int]]) -> None:
    usage = table_of(b"login * recipients=10+30/m")
    now, passed = 5000.0, []
    for pause_s, recipients in steps:
        now += pause_s / 100
        if usage.spend([JOE], recipients, now) is None:
            passed.append((now, recipients))
    for start, _ in passed:
        within = sum(count for when, count in passed if start <= when < start + 60)
        assert within <= 10 + 30 + 1


def test_recipients_count_each_and_a_message_over_the_limit_counts_for_none() -> None:
    usage = table_of(b"login * messages=10/h recipients=20/h")
    assert usage.spend([JOE], 21, 0.0) is not None, "more than can ever pass"
    assert usage.spend([JOE], 15, 0.0) is None
    excess = usage.spend([JOE], 6, 0.0)
    assert excess is not None and excess.reason == b"login joe is over recipients=20/h"
    assert usage.spend([JOE], 5, 0.0) is None


def test_postmaster_is_told_once_in_a_period() -> None:
    usage = table_of(b"login * messages=1/h")
    assert usage.spend([JOE], 1, 0.0) is None
    told = [usage.spend([JOE], 1, 10.0 + each) for each in range(3)]
    assert [it is not None and it.is_new for it in told] == [True, False, False]


def test_who_has_no_limit_needs_no_entry() -> None:
    usage = table_of(b"login ann messages=1/h")
    for _ in range(9):
        assert usage.spend([JOE, Subject(UID, b"5")], 100, 0.0) is None
    assert len(usage) == 0


def test_very_many_submitters_take_bounded_memory() -> None:
    usage = table_of(b"login * messages=1/h", capacity=500)
    for each in range(100_000):
        usage.spend([Subject(LOGIN, b"u%d" % each)], 1, float(each) / 1000)
    assert len(usage) == 500 and usage.forgotten == 99_500
    assert usage.spend([Subject(LOGIN, b"u99999")], 1, 101.0) is not None, "those used last are known"


def test_changed_limits_count_at_once_and_keep_what_was_used() -> None:
    usage = table_of(b"login * messages=2/h")
    assert usage.spend([JOE], 1, 0.0) is None
    usage.replace_limits(parse_submission_limits([b"login * messages=2/h recipients=5/h"])[0])
    assert usage.spend([JOE], 1, 0.0) is None
    assert usage.spend([JOE], 1, 0.0) is not None, "two of two are used"
    usage.replace_limits(parse_submission_limits([b"login joe none"])[0])
    assert usage.spend([JOE], 1, 0.0) is None


def stored(usage: UsageTable, now: float, offset_s: float) -> bytes:
    return b"".join(render_usage(usage.snapshot(), now, offset_s))


def test_use_is_kept_over_a_restart() -> None:
    usage = table_of(b"login * messages=2/h")
    for _ in range(3):
        usage.spend([JOE], 1, 100.0)
    text = stored(usage, 100.0, 1_700_000_000.0)
    lines, damaged = parse_usage(text)
    assert not damaged
    again = table_of(b"login * messages=2/h")
    again.load(lines, 7.0, 7.0 - 1_700_000_160.0)  # a minute later, another boot
    excess = again.spend([JOE], 1, 7.0)
    assert excess is not None and not excess.is_new, "and postmaster knows"
    assert again.spend([JOE], 1, 7.0 + 1800) is None


def test_a_clock_that_was_set_back_binds_nobody_for_longer_than_the_limit() -> None:
    usage = table_of(b"login * messages=2/h")
    for _ in range(3):
        usage.spend([JOE], 1, 100.0)
    lines, _ = parse_usage(stored(usage, 100.0, 1_700_000_000.0))
    again = table_of(b"login * messages=2/h")
    again.load(lines, 7.0, 7.0 - 1_600_000_000.0)
    assert again.spend([JOE], 1, 7.0) is not None
    assert again.spend([JOE], 1, 7.0 + 1801) is None


def test_what_is_used_up_again_is_not_written() -> None:
    usage = table_of(b"login * messages=2/h")
    usage.spend([JOE], 1, 100.0)
    assert stored(usage, 100.0, 0.0) and not stored(usage, 10_000.0, 0.0)


@given(st.binary(max_size=300))
def test_a_damaged_file_is_read_as_far_as_possible(text: bytes) -> None:
    parse_usage(text)
    lines, damaged = parse_usage(b"login joe 0.000 0 messages=2/h@1700000000.0\n" + text.replace(b"\n", b" ") + b"x")
    assert [it.subject for it in lines] == [JOE] and damaged == 1
