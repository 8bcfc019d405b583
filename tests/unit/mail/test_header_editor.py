"""Headers that are changed field by field."""

from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.mail.header_editor import EditedHeader

MESSAGE = b"From: a@b\nTo: c@d\n  , e@f\nX-Flag:  yes\nX-Flag: no\nSubject:\todd \t\n\nbody\n"
LINES = st.lists(
    st.sampled_from([b"A: b\n", b" c\n", b"\td\n", b"\n", b"junk\n", b"X-Y : z\n", b"From me\n", b"\r\n", b"no end"])
)


def edited(message: bytes = MESSAGE) -> tuple[EditedHeader, bytes]:
    header = EditedHeader(message)
    return header, message[header.size :]


def whole(header: EditedHeader, body: bytes) -> bytes:
    return header.render(body[:1]) + body


@given(LINES)
def test_what_is_not_changed_keeps_its_bytes(lines: list[bytes]) -> None:
    text = b"".join(lines)
    assert whole(*edited(text)) == text


def test_fields_hold_their_continuation_lines() -> None:
    header, body = edited()
    assert header.fields[1] == b"To: c@d\n  , e@f\n"
    assert len(header.fields) == 5
    assert body == b"\nbody\n"


def test_fields_are_added_behind_all_others() -> None:
    header, body = edited()
    header.add(b"X-New", b" 1\n\tand 2")
    assert whole(header, body) == MESSAGE.replace(b"odd \t\n", b"odd \t\nX-New: 1\n\tand 2\n")


def test_places_are_counted_with_our_own_received_field_as_the_first() -> None:
    for index, place in ((0, 0), (1, 0), (2, 1), (5, 4), (6, 5), (1 << 31, 5)):
        header, _ = edited()
        header.insert(index, b"X", b" y")
        assert header.fields[place] == b"X: y\n"


def test_the_nth_field_of_a_name_is_changed_deleted_or_added() -> None:
    header, body = edited()
    header.change(2, b"x-flag", b" maybe")
    header.change(1, b"X-FLAG", b"")
    header.change(0, b"Subject", b" even")
    header.change(7, b"Subject", b" another")
    header.change(7, b"Subject", b"")
    assert whole(header, body) == (
        b"From: a@b\nTo: c@d\n  , e@f\nx-flag: maybe\nSubject: even\nSubject: another\n\nbody\n"
    )


def test_a_line_of_an_mbox_stays_in_front() -> None:
    header, body = edited(b"From joe Mon\n" + MESSAGE)
    header.insert(0, b"X", b" y")
    assert whole(header, body) == b"From joe Mon\nX: y\n" + MESSAGE


def test_a_body_without_an_empty_line_gets_one_when_the_header_is_changed() -> None:
    header, body = edited(b"A: b\njunk\n")
    assert whole(header, body) == b"A: b\njunk\n"
    header.add(b"X", b" y")
    assert whole(header, body) == b"A: b\nX: y\n\njunk\n"
    header, body = edited(b"A: b\n")
    header.add(b"X", b" y")
    assert whole(header, body) == b"A: b\nX: y\n"
