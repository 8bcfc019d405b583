"""Lists of tags are read strictly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.mail_auth.tag_list import InvalidTagList, parse_tags, split_list, without_blanks

NAMES = st.from_regex(rb"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True)
VALUES = st.from_regex(rb"(?:[!-:<-~](?:[ \t]{0,2}[!-:<-~]){0,10})?", fullmatch=True)


def test_blanks_and_folds_around_names_and_values_do_not_matter() -> None:
    assert parse_tags(b" v = 1 ;\n\ta=rsa-sha256\t; b = AB\n CD;\n") == {
        b"v": b"1",
        b"a": b"rsa-sha256",
        b"b": b"AB\n CD",
    }


@pytest.mark.parametrize(
    "text", [b"", b"a", b"a=1;;b=2", b";a=1", b"a=1;a=2", b"1a=2", b"=x", b"a=\0", b"a=1;b", b"a b=1"]
)
def test_what_is_no_list_is_refused_as_a_whole(text: bytes) -> None:
    with pytest.raises(InvalidTagList):
        parse_tags(text)


def test_names_keep_their_case() -> None:
    assert parse_tags(b"A=1; a=2") == {b"A": b"1", b"a": b"2"}


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=8), st.booleans())
def test_what_is_written_is_read(tags: dict[bytes, bytes], ends: bool) -> None:
    text = b"; ".join(b"%b=%b" % pair for pair in tags.items()) + b";" * ends
    assert parse_tags(text) == tags


@given(st.binary(max_size=200))
def test_any_bytes_are_a_list_or_refused(text: bytes) -> None:
    try:
        parse_tags(text)
    except InvalidTagList:
        pass


def test_lists_within_values() -> None:
    assert split_list(b"From : To:\n Subject") == [b"From", b"To", b"Subject"]
    assert without_blanks(b" A B\r\n\tC ") == b"ABC"
