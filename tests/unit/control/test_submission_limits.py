"""Limits of submitters: lines become buckets, and every submitter finds its own line."""

import pytest

from eqmail_core.control.submission_limits import ADDRESS, ALL, LOGIN, UID, LimitTable, parse_submission_limits
from eqmail_core.control.submission_limits import SubmissionLimits as Kind

TEXT = b"""# comment
login * messages=100/h recipients=50+500/d
login Joe@Example.org none
uid www-data messages=20/h refuse
uid * messages=1/m hold
address 192.0.2.0/24 messages=5/h
address 192.0.2.7 messages=6/h
address 2001:db8::/32 messages=7/h
"""


def words(table: LimitTable, kind: bytes, name: bytes) -> list[bytes]:
    return [bucket.text for bucket in table.limits_of(kind, name).buckets]


@pytest.fixture
def table() -> LimitTable:
    table, remarks = Kind("", default=None).parse(TEXT)
    assert table is not None and not remarks
    return table


def test_a_line_of_its_own_beats_the_one_for_all(table: LimitTable) -> None:
    assert words(table, LOGIN, b"ann") == [b"messages=100/h", b"recipients=50+500/d"]
    assert words(table, LOGIN, b"joe@example.ORG") == []
    assert words(table, ADDRESS, b"198.51.100.1") == []


def test_the_narrowest_network_counts(table: LimitTable) -> None:
    assert words(table, ADDRESS, b"192.0.2.7") == [b"messages=6/h"]
    assert words(table, ADDRESS, b"192.0.2.8") == [b"messages=5/h"]
    assert words(table, ADDRESS, b"::ffff:192.0.2.8") == [b"messages=5/h"]
    assert words(table, ADDRESS, b"2001:0db8:0001:0000::/64") == [b"messages=7/h"]
    assert words(table, ADDRESS, b"rubbish") == []


def test_names_of_users_become_uids(table: LimitTable) -> None:
    assert table.resolve_users(lambda name: 33 if name == b"www-data" else None) == []
    assert words(table, UID, b"33") == [b"messages=20/h"]
    assert table.limits_of(UID, b"33").refuses
    assert words(table, UID, b"34") == [b"messages=1/m"]
    other, _ = parse_submission_limits([b"uid nobody-here messages=1/h"])
    assert other.resolve_users(lambda name: None) == [b"nobody-here"]


def test_burst_count_and_period_are_read(table: LimitTable) -> None:
    first, second = table.limits_of(LOGIN, ALL).buckets
    assert (first.burst, first.count, first.period_s) == (100, 100, 3600)
    assert (second.burst, second.count, second.period_s) == (50, 500, 86400)


@pytest.mark.parametrize(
    "line",
    [
        b"login",
        b"login joe",
        b"user joe messages=1/h",
        b"login joe messages=0/h",
        b"login joe messages=1/y",
        b"login joe messages=1",
        b"login joe messages=-1/h",
        b"login joe messages=9999999999/h",
        b"login joe messages=1/h none",
        b"login joe refuse",
        b"login joe messages=1/h hold refuse",
        b"address example.org messages=1/h",
        b"address 192.0.2.0/64 messages=1/h",
        b"\xff\xfe \x00 x",
        b"\r",
        b" \x0c",
    ],
)
def test_an_invalid_line_is_passed_over_with_a_remark(line: bytes) -> None:
    table, remarks = Kind("", default=None).parse(line + b"\nlogin ann messages=1/h\n")
    assert table is not None and words(table, LOGIN, b"ann") == [b"messages=1/h"]
    assert len(remarks) == 1


def test_a_hundred_thousand_lines_are_looked_up_by_name() -> None:
    table, wrong = parse_submission_limits(b"login user%d messages=%d/h" % (each, each + 1) for each in range(100_000))
    assert not wrong
    assert words(table, LOGIN, b"user99999") == [b"messages=100000/h"]
