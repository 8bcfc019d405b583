"""Lists of recipients and the info file."""

from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.queue.format.info import dsn_in_info, parse_info, render_info
from eqmail_core.queue.format.recipient_list import MARK_DONE, MARK_TODO, numbered, records, render_list

ADDRESSES = st.lists(st.binary(max_size=20).filter(lambda text: b"\0" not in text))


@given(ADDRESSES, st.integers(1, 7))
def test_lists_are_read_alike_in_any_pieces(recipients: list[bytes], size: int) -> None:
    text = render_list(recipients)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert list(records(pieces)) == list(numbered(recipients))


@given(ADDRESSES, st.data())
def test_done_marks_stand_at_the_offsets_that_were_counted(recipients: list[bytes], data: st.DataObject) -> None:
    finished = [data.draw(st.booleans()) for _ in recipients]
    offsets = [offset for (offset, _, _), done in zip(numbered(recipients), finished, strict=True) if done]
    found = list(records([render_list(recipients, offsets)]))
    assert [address for _, _, address in found] == recipients
    assert [mark for _, mark, _ in found] == [MARK_DONE if done else MARK_TODO for done in finished]


def test_what_follows_the_last_nul_is_no_record() -> None:
    assert list(records([b"Ta@b\0Dc", b"@d\0Tcut"])) == [(0, MARK_TODO, b"a@b"), (5, MARK_DONE, b"c@d")]


def test_an_info_file_holds_the_sender() -> None:
    assert parse_info(render_info(b"a@b")) == b"a@b"
    assert parse_info(render_info(b"")) == b""
    assert dsn_in_info(render_info(b"a@b")) == b""
    with_dsn = render_info(b"a@b", b"W U")
    assert (parse_info(with_dsn), dsn_in_info(with_dsn), dsn_in_info(with_dsn[:-1])) == (
        b"a@b",
        b"W U",
        b"",
    )


def test_an_interrupted_info_file_has_no_sender() -> None:
    assert parse_info(b"Fa@") is None
    assert parse_info(b"") is None
    assert parse_info(b"Xa\0") is None
