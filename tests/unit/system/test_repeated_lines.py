"""Lines that repeat themselves."""

import pytest

from eqmail_core.local.service.user_batch import unexpected
from eqmail_core.outcome import TEMPORARY
from eqmail_core.system.repeated_lines import MAX_KINDS, RepeatedLines


def test_thousands_of_lines_of_one_kind_are_one_a_minute_with_their_number() -> None:
    now = [100.0]
    lines = RepeatedLines(lambda: now[0])
    output = [lines.let(b"warning: unable to create local/%d/%d" % (count % 23, count)) for count in range(5000)]
    assert [line for line in output if line] == [b"warning: unable to create local/0/0"]
    assert lines.let(b"another") == b"another"
    now[0] += 60
    assert lines.let(b"warning: unable to create local/5/5") == (
        b"warning: unable to create local/5/5 (and 4999 more of this kind since)"
    )
    assert not lines.let(b"warning: unable to create local/6/6")


def test_a_clock_step_back_and_many_kinds_are_handled() -> None:
    now = [100.0]
    lines = RepeatedLines(lambda: now[0])
    assert lines.let(b"x")
    now[0] = 10.0
    assert lines.let(b"x")
    for count in range(3 * MAX_KINDS // 2):
        lines.let(b"kind %b" % bytes((97 + count % 26, 97 + count // 26)))
    assert len(lines._kinds) <= MAX_KINDS + 1


def test_lines_of_many_kinds_are_no_more_than_their_bound() -> None:
    now = [100.0]
    lines = RepeatedLines(lambda: now[0])

    def kind(count: int) -> bytes:
        return b"no TLS with %b" % bytes(97 + count // place % 26 for place in (676, 26, 1))

    said = [line for count in range(5000) if (line := lines.let(kind(count)))]
    assert len(said) == MAX_KINDS + 1
    now[0] += 60
    assert lines.let(kind(0)) == kind(0)
    said = [line for count in range(5000, 9000) if (line := lines.let(kind(count)))]
    assert len(said) == MAX_KINDS - 1
    assert b" more of many kinds since)" in said[-1]


def test_what_a_user_makes_a_service_report_a_thousand_times_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    for count in range(1000):
        assert unexpected(ValueError(f"order {count}")).outcome == TEMPORARY
    assert capfd.readouterr().err == "qmail-local: alert: ValueError: order 0\n"
