"""Headers in pieces: fields, and where the body begins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.mail.header import HeaderReader, LfLines, field_name, field_text, is_field


def read(*pieces: bytes) -> tuple[list[bytes], bytes]:
    reader = HeaderReader()
    rest = iter(pieces)
    for piece in rest:
        if reader.feed(piece):
            return reader.fields, reader.body + b"".join(rest)
    reader.end()
    return reader.fields, reader.body


def in_lf(*pieces: bytes) -> tuple[list[bytes], bytes]:
    """Fields and body, as who injects them has them."""
    reader = HeaderReader()
    rest = iter(pieces)
    begun = any(reader.feed(piece) for piece in rest)
    if not begun:
        reader.end()
    if not reader.is_crlf:
        return reader.fields, reader.body + b"".join(rest)
    lines = LfLines()
    return reader.fields, b"".join(map(lines.feed, (reader.body, *rest))) + lines.finish()


messages = st.lists(
    st.sampled_from([b"To: a\n", b" more\n", b"\n", b"From x\n", b"no field\n", b"X : y\n", b": z\n", b"last"]),
    max_size=8,
).map(b"".join)


@given(messages | st.binary(max_size=60), st.integers(1, 7))
def test_a_message_with_crlf_is_read_as_the_same_with_lf(message: bytes, size: int) -> None:
    message = (message.replace(b"\r", b"") or b"x").removesuffix(b"\n") + b"\n"
    crlf = message.replace(b"\n", b"\r\n")
    assert in_lf(*(crlf[at : at + size] for at in range(0, len(crlf), size))) == read(message)


def test_line_ends_of_two_kinds_stay_as_they_are() -> None:
    mixed = b"To: a\nSubject: b\r\n\r\nbody\r\n"
    assert in_lf(mixed) == read(mixed) == ([b"To: a\n", b"Subject: b\r\n"], b"\n\r\nbody\r\n")


def test_a_cr_in_a_line_stays() -> None:
    assert in_lf(b"To: a\r\n\r\nb\rc\r", b"\n\r") == ([b"To: a\n"], b"\nb\rc\n\r")


@given(messages | st.binary(max_size=60), st.integers(1, 7))
def test_fragmentation_makes_no_difference(message: bytes, size: int) -> None:
    whole, body = read(message)
    fields, rest = read(*(message[at : at + size] for at in range(0, len(message), size)))
    assert fields == whole
    assert rest.removesuffix(b"\n") == body.removesuffix(b"\n")


@given(messages | st.binary(max_size=60))
def test_nothing_is_lost(message: bytes) -> None:
    fields, body = read(message)
    together = b"".join(fields).replace(b"MBOX-Line: ", b"") + body
    assert together.replace(b"\n", b"") == message.replace(b"MBOX-Line: ", b"").replace(b"\n", b"")


@pytest.mark.parametrize(
    ("message", "fields", "body"),
    [
        (b"", [], b""),
        (b"\n\n", [], b"\n\n"),
        (b"A: b", [b"A: b\n"], b""),
        (b"A: b\n\tc\nD: e\n\nbody", [b"A: b\n\tc\n", b"D: e\n"], b"\nbody"),
        (b"A: b\nbroken\nC: d\n", [b"A: b\n"], b"\nbroken\nC: d\n"),
        (b"A: b\nbroken", [b"A: b\n"], b"\nbroken\n"),
        (b" blank first\nA: b\n", [], b"\n blank first\nA: b\n"),
        (b"From x\n y\nA: b\n", [b"MBOX-Line: From x\n y\n", b"A: b\n"], b""),
    ],
)
def test_headers_end_at_the_empty_line(message: bytes, fields: list[bytes], body: bytes) -> None:
    assert read(message) == (fields, body)


@pytest.mark.parametrize("line", [b"", b"x", b": x", b" : x", b"a b: c", b"\xe4: x", b"a\x7f: x"])
def test_names_are_printable_without_blanks(line: bytes) -> None:
    assert not is_field(line)


def test_blanks_before_the_colon_are_no_part_of_the_name() -> None:
    assert is_field(b"Sub-Ject \t: x")
    assert field_name(b"Sub-Ject \t: x\n") == b"sub-ject"
    assert field_text(b"Subject:\n \t x y\n") == b"x y\n"
