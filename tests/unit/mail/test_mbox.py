"""The mbox format, in whatever pieces a message comes."""

import re

from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.mail.mbox import FromQuoter, from_line

NOW = 1795397501.0
PIECES = st.lists(st.sampled_from([b"From ", b"From", b"F", b"rom ", b">", b">>", b"\n", b"x", b" ", b"\r\n"]))


def quoted(pieces: list[bytes]) -> bytes:
    quoter = FromQuoter()
    return b"".join([quoter.feed(piece) for piece in pieces]) + quoter.finish()


def expected(message: bytes) -> bytes:
    """The definition: > before lines that are From_ after any number of >, a newline if missing, an empty line."""
    text = re.sub(rb"^(>*From )", rb">\1", message, flags=re.MULTILINE)
    return text + (b"\n" if text.endswith(b"\n") or not text else b"\n\n")


@given(PIECES)
def test_fragmentation_makes_no_difference(pieces: list[bytes]) -> None:
    assert quoted(pieces) == expected(b"".join(pieces))


@given(PIECES)
def test_byte_by_byte_is_the_same(pieces: list[bytes]) -> None:
    message = b"".join(pieces)
    assert quoted([message[at : at + 1] for at in range(len(message))]) == expected(message)


@given(PIECES)
def test_quoting_can_be_undone(pieces: list[bytes]) -> None:
    message = b"".join(pieces) + b"\n"
    assert re.sub(rb"^>(>*From )", rb"\1", quoted([message])[:-1], flags=re.MULTILINE) == message


def test_from_line_has_a_sender_without_blanks_and_a_date_in_utc() -> None:
    assert from_line(b"sen der\t@x", NOW) == b"From sen-der-@x Mon Nov 23 01:31:41 2026\n"
    assert from_line(b"", NOW) == b"From MAILER-DAEMON Mon Nov 23 01:31:41 2026\n"
