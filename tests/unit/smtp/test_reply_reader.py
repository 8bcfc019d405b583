"""Replies of a server, however they arrive."""

from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.smtp.reply_reader import GARBLED, MAX_LINE, MAX_TEXT, MAX_WAITING, ReplyReader


def replies_of(*pieces: bytes) -> list[tuple[int, bytes]]:
    reader = ReplyReader()
    found = []
    for piece in pieces:
        reader.receive(piece)
        while (reply := reader.next_reply()) is not None:
            found.append((reply.code, reply.text))
    return found


def test_the_first_line_gives_the_code_and_all_lines_the_text() -> None:
    assert replies_of(b"450-a\r\n550-b\r\n250 c\r\n") == [(450, b"450-a\n550-b\n250 c\n")]


def test_a_code_alone_is_a_reply() -> None:
    assert replies_of(b"250\r\n354\n") == [(250, b"250\n"), (354, b"354\n")]


def test_text_is_cut_and_a_cut_text_has_no_newline() -> None:
    ((code, text),) = replies_of(b"550 " + b"x" * 9000 + b"\r\n")
    assert (code, len(text), text[-1:]) == (550, MAX_TEXT, b"x")


def test_an_invalid_reply_code_is_temporary() -> None:
    assert [code for code, _ in replies_of(b"hello\r\n\r\n25\r\n2x0 ok\r\n")] == [GARBLED] * 4


def test_an_endless_reply_is_cut_off() -> None:
    reader = ReplyReader()
    reader.receive(b"250 ok\r\n" * (3 * MAX_WAITING))
    assert sum(1 for _ in iter(reader.next_reply, None)) == MAX_WAITING


def test_an_unfinished_reply_is_noticed() -> None:
    reader = ReplyReader()
    assert reader.is_clean
    for beginning in (b"4", b"421-closing\r\n", b"421 now\r\n"):
        reader = ReplyReader()
        reader.receive(beginning)
        assert not reader.is_clean


streams = st.lists(
    st.one_of(
        st.sampled_from([b"250 ok\r\n", b"250-a\r\n", b"\r\n", b"\n", b"-", b"4", b"550 ", b"\0", b"x" * MAX_LINE]),
        st.binary(max_size=40),
    ),
    max_size=12,
).map(b"".join)


@given(streams, st.data())
def test_fragmentation_does_not_matter(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert replies_of(*pieces) == replies_of(stream)


@given(st.lists(st.binary(max_size=200), max_size=30))
def test_memory_is_bounded(pieces: list[bytes]) -> None:
    reader = ReplyReader()
    for piece in pieces:
        reader.receive(piece * 100)
        assert len(reader._partial) <= MAX_LINE
        assert len(reader._text) <= MAX_TEXT
        assert len(reader._ready) <= MAX_WAITING
