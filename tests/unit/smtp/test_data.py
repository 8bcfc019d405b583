"""The body decoder against a machine that looks at one byte at a time, as C's does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.smtp.data import BareNewline, DotUnstuffer

HARD = st.text("\r\n.ax", max_size=40).map(str.encode)


def byte_by_byte(data: bytes) -> tuple[bytes, bytes | None] | None:
    """Text and rest (None: not ended) by the states of RFC 821's transparency; None for a bare newline."""
    out = bytearray()
    state = "line start"
    for position, byte in enumerate(data):
        char = bytes((byte,))
        if char == b"\n" and state not in ("cr", "dot cr"):
            return None
        if state == "dot cr" and char == b"\n":
            return bytes(out), data[position + 1 :]
        if state == "dot cr":
            out += b".\r"
            state = "cr" if char == b"\r" else "text"
        elif state == "cr":
            if char == b"\n":
                state = "line start"
                out += b"\n"
                continue
            out += b"\r"
            state = "cr" if char == b"\r" else "text"
        elif state == "dot":
            state = "dot cr" if char == b"\r" else "text"
        elif state == "line start" and char == b".":
            state = "dot"
            continue
        else:
            state = "cr" if char == b"\r" else "text"
        if state == "text":
            out += char
    return bytes(out), None


def decode(pieces: list[bytes]) -> tuple[bytes, bytes | None] | None:
    body = DotUnstuffer()
    text = b""
    for index, piece in enumerate(pieces):
        try:
            more, rest = body.receive(piece)
        except BareNewline:
            return None
        text += more
        if rest is not None:
            return text, rest + b"".join(pieces[index + 1 :])
    return text, None


@given(HARD)
def test_it_agrees_with_the_byte_by_byte_state_machine(data: bytes) -> None:
    data += b"\r\n.\r\n"
    assert decode([data]) == byte_by_byte(data)


@given(st.lists(HARD, max_size=8))
def test_fragmentation_makes_no_difference(pieces: list[bytes]) -> None:
    whole = b"".join(pieces) + b"\r\n.\r\n"
    assert decode([*pieces, b"\r\n.\r\n"]) == decode([whole]) == decode([whole[i : i + 1] for i in range(len(whole))])


@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b""))))
def test_dot_stuffing_is_reversible(lines: list[bytes]) -> None:
    wire = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines) + b".\r\nQUIT\r\n"
    assert decode([wire]) == (b"".join(line + b"\n" for line in lines), b"QUIT\r\n")


@pytest.mark.parametrize("smuggled", [b"a\n.\r\nb", b"a\r\n.\nb", b"a\n.\nb", b"\n.\r\n", b"a\r\n.\r\r\n\n"])
def test_no_other_end_of_message_is_accepted(smuggled: bytes) -> None:
    assert decode([smuggled + b"\r\n.\r\n"]) is None


def test_a_carriage_return_alone_is_text() -> None:
    assert decode([b"a\rb\r\n.\rc\r\n.\r\n"]) == (b"a\rb\n.\rc\n", b"")


@given(st.binary(max_size=200))
def test_at_most_four_bytes_wait(data: bytes) -> None:
    data = data.replace(b"\n", b"\r\n")
    result = decode([data])
    if result is not None and result[1] is None:
        crlf = data.count(b"\r\n")
        assert len(result[0]) >= len(data) - 2 * crlf - 4 - data.count(b".")
