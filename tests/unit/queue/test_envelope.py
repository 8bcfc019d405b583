"""Envelopes: what qmail-queue accepts, and what lies in todo/."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.format.envelope import read_envelope, scan_envelope
from eqmail_core.queue.format.exit_codes import ADDRESS_TOO_LONG, BAD_ENVELOPE, OK, READ_ERROR
from eqmail_core.queue.format.todo import BadTodo, parse_todo, render_todo

ADDRESSES = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"x"))


@pytest.mark.parametrize(
    ("envelope", "code"),
    [
        (b"Fa@b\0Tc@d\0\0", OK),
        (b"F\0\0", OK),
        (b"Fa@b\0Tc@d\0\0trailing bytes", OK),
        (b"", READ_ERROR),
        (b"F", READ_ERROR),
        (b"Fa@b\0", READ_ERROR),
        (b"Fa@b\0Tc@d\0", READ_ERROR),
        (b"Xa@b\0", BAD_ENVELOPE),
        (b"\0", BAD_ENVELOPE),
        (b"Fa@b\0Xq\0\0", BAD_ENVELOPE),
        (b"F" + b"s" * 1002 + b"\0\0", OK),
        (b"F" + b"s" * 1002, READ_ERROR),
        (b"F" + b"s" * 1003, ADDRESS_TOO_LONG),
        (b"F" + b"s" * 1003 + b"\0\0", ADDRESS_TOO_LONG),
        (b"Fa\0T" + b"r" * 1003, ADDRESS_TOO_LONG),
        (b"Fa\0T" + b"r" * 1003 + b"\0X", ADDRESS_TOO_LONG),
    ],
)
def test_an_envelope_is_checked_as_by_qmail_queue(envelope: bytes, code: int) -> None:
    assert scan_envelope(envelope)[0] == code


@given(
    st.binary(max_size=30) | st.lists(ADDRESSES, max_size=4).map(lambda a: b"F" + b"\0T".join(a) + b"\0\0"), st.data()
)
def test_envelope_checks_do_not_depend_on_fragmentation(envelope: bytes, data: st.DataObject) -> None:
    expected = scan_envelope(envelope)
    position, seen = 0, b""
    while seen != envelope:
        size = data.draw(st.integers(1, 5))
        seen = envelope[: len(seen) + size]
        code, position = scan_envelope(seen, position)
        if code != READ_ERROR:
            break
    assert (code if envelope else READ_ERROR, position) == expected


@given(ADDRESSES, st.lists(ADDRESSES, max_size=5), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_an_envelope_comes_back_from_todo(sender: bytes, recipients: list[bytes], uid: int, pid: int) -> None:
    envelope = b"F%b\0" % sender + b"".join(b"T%b\0" % recipient for recipient in recipients)
    expected = Envelope(sender, recipients)
    assert Envelope.parse(envelope) == Envelope.parse(envelope + b"\0") == expected
    assert scan_envelope(envelope + b"\0") == (OK, len(envelope))
    todo = parse_todo(render_todo(uid, pid, envelope, b"1700000000.7"))
    assert todo.uid == uid
    todo = parse_todo(render_todo(uid, pid, envelope))
    assert (todo.uid, todo.pid, todo.envelope) == (uid, pid, expected)
    with_news = parse_todo(render_todo(uid, pid, envelope + b"\0W E:id 0:n:\0"))
    assert (with_news.pid, with_news.envelope) == (pid, Envelope(sender, recipients, b"W E:id 0:n:"))


@pytest.mark.parametrize("text", [b"", b"u1\0p2\0Tx\0", b"u1\0p2\0Fa\0Tb", b"ux\0Fa\0", b"u1\0Fa\0Zq\0", b"u1\0Fa\0\0"])
def test_a_todo_file_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(BadTodo):
        parse_todo(text)


@given(st.sampled_from([b"", b"W U\0", b"W 0:n:\0 and more", b"rubbish", b"W rubbish\0", b"W U"]), st.integers(1, 30))
def test_dsn_parameters_are_read_in_any_fragmentation(behind: bytes, size: int) -> None:
    envelope = b"Fa@b\0Tc@d\0\0"
    rest = envelope + behind

    def read() -> bytes:
        nonlocal rest
        piece, rest = rest[:size], rest[size:]
        return piece

    kept = {b"W U\0": b"\0W U\0", b"W 0:n:\0 and more": b"\0W 0:n:\0"}.get(behind, b"")
    assert read_envelope(read, lambda: True) == (OK, envelope[:-1] + kept)


def test_the_envelope_reader_does_not_wait_for_dsn_parameters() -> None:
    pieces = [b"Fa@b\0", b"Tc@d\0\0"]
    assert read_envelope(lambda: pieces.pop(0), lambda: False) == (OK, b"Fa@b\0Tc@d\0")
