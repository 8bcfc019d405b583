"""Rules for TCP connections."""

import pytest

from eqmail_core.formats.tcprules import BadRule, database_records, keys_for, parse_record


def records(*lines: bytes) -> list[tuple[bytes, bytes]]:
    return list(database_records([line + b"\n" for line in lines]))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"1.2.3.4:deny", [(b"1.2.3.4", b"D\0")]),
        (b'127.:allow,RELAYCLIENT="",X=/a"b/', [(b"127.", b'+RELAYCLIENT=\0+X=a"b\0')]),
        (b"joe@1.2.3.4-5:allow", [(b"joe@1.2.3.4-5", b"")]),
        (b"=a-b.org:allow", [(b"=a-b.org", b"")]),
        (b"10.2-3.:deny", [(b"10.2.", b"D\0"), (b"10.3.", b"D\0")]),
        (b"1.2.3.254-999:allow", [(b"1.2.3.254", b""), (b"1.2.3.255", b"")]),
        (b"1.2.3.9-8:allow", []),
        (b"2001:db8::1:allow", [(b"2001:db8::1", b"")]),
        (b"::1:deny  \t", [(b"::1", b"D\0")]),
        (b"# comment", []),
        (b"   ", []),
    ],
)
def test_a_line_gives_its_records(line: bytes, expected: list[tuple[bytes, bytes]]) -> None:
    assert records(line) == expected


@pytest.mark.parametrize(
    "line",
    [b"1.2.3.4", b":permit", b":allowed", b":allow,A", b":allow,A=", b':allow,A="x', b":allow A=1", b"1.2.x-3:allow"],
)
def test_a_line_that_is_no_rule_is_shown(line: bytes) -> None:
    with pytest.raises(BadRule) as bad:
        records(line)
    assert bad.value.line == line


def test_a_record_is_read_back() -> None:
    rule = parse_record(b"D\0+A=b=c\0+E=\0")
    assert rule.denies
    assert rule.variables == {b"A": b"b=c", b"E": b""}


def test_keys_go_from_special_to_general() -> None:
    assert list(keys_for(b"10.0.0.1", b"a.b.org", b"joe")) == [
        b"joe@10.0.0.1",
        b"joe@=a.b.org",
        b"10.0.0.1",
        b"=a.b.org",
        b"10.0.0.",
        b"10.0.",
        b"10.",
        b"=.b.org",
        b"=.org",
        b"=",
        b"",
    ]


def test_an_unknown_name_is_not_looked_up() -> None:
    assert list(keys_for(b"fe80::1", None, None)) == [b"fe80::1", b"fe80::", b"fe80:", b""]
