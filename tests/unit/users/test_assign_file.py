"""users/assign as database records."""

import pytest

from eqmail_core.users.assign_file import BadAssign, database_records, simple_line, wildcard_line


def records(text: bytes) -> list[tuple[bytes, bytes]]:
    return list(database_records(text.splitlines(keepends=True)))


def test_the_documented_lines_give_the_documented_records() -> None:
    text = (
        b"=Foo:foo:100:200:/h/foo:::extra\n+Foo+:foo:100:200:/h/foo:-::\n"
        b"+List-:l:1:2:/h:-:pre-:\n+:alias:3:4:/h/a:-::\n.\nbehind the end\n"
    )
    assert records(text) == [
        (b"!foo\0", b"foo\x00100\x00200\0/h/foo\0\0"),
        (b"!foo+", b"foo\x00100\x00200\0/h/foo\0-\0"),
        (b"!list-", b"l\x001\x002\0/h\0-\0pre-"),
        (b"!", b"alias\x003\x004\0/h/a\0-\0"),
        (b"", b"+-"),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"", 1),
        (b"=a:a:1:1:/a:::\n", 2),
        (b"=a:a:1:1:/a:::\n=b:b:1:1:/b:::", 2),
        (b"=a:a:1:1:/a:::\n\n.\n", 2),
        (b"=a:a:1:1:/a::\n.\n", 1),
        (b":a:a:1:1:/a:::\n.\n", 1),
        (b"=a\0:a:1:1:/a:::\n.\n", 1),
        (b"# comment\n.\n", 1),
    ],
)
def test_bad_text_is_refused_with_its_line(text: bytes, line: int) -> None:
    with pytest.raises(BadAssign) as bad:
        records(text)
    assert bad.value.line == line


@pytest.mark.parametrize("end", [b".", b".\n", b". and so on", b".\nwhat ever"])
def test_a_dot_ends_the_file_with_a_newline_or_without(end: bytes) -> None:
    assert [key for key, _ in records(b"=a:a:1:1:/a:::\n" + end)] == [b"!a\0", b""]


def test_rendered_lines_are_read_back() -> None:
    fields = (b"joe", b"501", b"500", b"/home/joe", b"-", b"")
    text = simple_line(b"joe", fields) + wildcard_line(b"joe+", fields) + b".\n"
    assert [key for key, _ in records(text)] == [b"!joe\0", b"!joe+", b""]
    assert {data for key, data in records(text) if key} == {b"\0".join(fields)}
