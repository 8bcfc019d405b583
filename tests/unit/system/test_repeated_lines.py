"""Lines that repeat themselves."""

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
    assert all(
        lines.let(b"kind %b" % bytes((97 + count % 26, 97 + count // 26))) for count in range(3 * MAX_KINDS // 2)
    )
    assert len(lines._kinds) <= MAX_KINDS
