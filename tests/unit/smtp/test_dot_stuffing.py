"""Dots on the way out, however the message is cut."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.smtp.data import DotStuffer, DotUnstuffer


def cuts(message: bytes) -> Iterator[list[bytes]]:
    """The message in one piece, in two at every place, and in single bytes."""
    yield [message]
    yield from ([message[:place], message[place:]] for place in range(1, len(message)))
    yield [message[index : index + 1] for index in range(len(message))]


def encode(pieces: list[bytes], guards_cr: bool) -> bytes:
    stuffing = DotStuffer(guards_cr)
    return b"".join(map(stuffing.encode, pieces))


@pytest.mark.parametrize(
    ("message", "guarded", "plain"),
    [
        (b".\na\n", b"..\r\na\r\n", b"..\r\na\r\n"),
        (b"a\n.\n..\nb.\n", b"a\r\n..\r\n...\r\nb.\r\n", b"a\r\n..\r\n...\r\nb.\r\n"),
        (b"a\r.\rQUIT\n", b"a\r..\rQUIT\r\n", b"a\r.\rQUIT\r\n"),
        (b"a\n\r.\n", b"a\r\n\r..\r\n", b"a\r\n\r.\r\n"),
        (b"a\r\n.\r\n", b"a\r\r\n..\r\r\n", b"a\r\r\n..\r\r\n"),
        (b"\r\r..\r", b"\r\r...\r", b"\r\r..\r"),
    ],
)
def test_dots_are_doubled_where_a_line_may_begin(message: bytes, guarded: bytes, plain: bytes) -> None:
    for pieces in cuts(message):
        assert (encode(pieces, True), encode(pieces, False)) == (guarded, plain)


@given(st.text("\r\n.a", max_size=12))
def test_a_server_that_takes_a_cr_for_the_end_of_a_line_sees_no_end(text: str) -> None:
    (wire,) = {encode(pieces, True) for pieces in cuts(text.encode() + b"\n")}
    for blind in (wire, wire.replace(b"\r", b"\n"), wire.replace(b"\r\n", b"\n").replace(b"\r", b"\n")):
        assert b"\n.\n" not in blind and not blind.startswith(b".\n")
    assert DotUnstuffer().receive(wire + b".\r\n")[1] == b""
