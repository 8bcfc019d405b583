"""Address lists as tokens: what is read, what is written, and that reading and writing fit together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.mail.address_list import (
    ATOM,
    COLON,
    COMMENT,
    LITERAL,
    QUOTE,
    Unparsable,
    render,
    rewrite_addresses,
    text_of,
    tokenise,
)

Token = tuple[bytes, bytes]
_PIECES = st.sampled_from(
    [
        *b'a b . , @ < > : ; ( ) [ ] \\ "'.split(),
        b" ",
        b"\n ",
        b"\xe4",
        b"a@b",
        b"c@d.e, ",
        b"<x@y>",
        b"(c)",
        b'"q w"',
        b"+",
    ]
)
lists = st.lists(_PIECES, max_size=25).map(b"".join)
words = st.tuples(
    st.sampled_from([QUOTE, LITERAL, COMMENT]), st.binary(max_size=8).map(lambda text: text.replace(b"\n", b"\n "))
)


def rewritten(field: bytes) -> tuple[bytes, list[bytes]]:
    """The field as written again, and its addresses in the order in which they are seen."""
    seen: list[bytes] = []

    def see(address: list[Token]) -> list[Token]:
        seen.append(text_of(address))
        return address

    return render(rewrite_addresses(tokenise(field), see)), seen


@given(st.binary(max_size=200) | lists)
def test_any_text_is_tokens_or_unparsable(text: bytes) -> None:
    try:
        tokens = tokenise(text)
    except Unparsable:
        return
    assert all(word for kind, word in tokens if kind not in (ATOM, QUOTE, LITERAL, COMMENT))


@given(st.lists(words, max_size=8))
def test_words_survive_being_written(tokens: list[Token]) -> None:
    """A newline in a word is always that of a fold, so a blank follows it."""
    assert tokenise(render(tokens)) == tokens


@given(lists)
def test_a_list_written_again_names_the_same_addresses(text: bytes) -> None:
    try:
        once, seen = rewritten(b"To:" + text)
    except Unparsable:
        return
    assert once.endswith(b"\n") and b"\n\n" not in once
    assert all(line.startswith(b" ") for line in once.split(b"\n")[1:-1])
    if b"\\" in text:
        return  # An escaped blank in an atom is written bare, as in C, and then separates.
    try:
        assert rewritten(once)[1] == seen
    except Unparsable:
        assert b"<" in text or b">" in text


@pytest.mark.parametrize("text", [b")", b"]", b"a (b", b'"a', b"[1", b'"\\', b"(\\"])
def test_brackets_must_match(text: bytes) -> None:
    with pytest.raises(Unparsable):
        tokenise(text)


@pytest.mark.parametrize("text", [b"To: a: b", b"To: a: b; c;;", b"To: x>"])
def test_groups_and_angles_must_match(text: bytes) -> None:
    with pytest.raises(Unparsable):
        rewritten(text)


def test_comments_lose_their_inner_parentheses() -> None:
    assert tokenise(b"(a (b) c)") == [(COMMENT, b"a b c")]


def test_an_atom_that_cannot_stand_alone_becomes_a_quoted_string() -> None:
    assert tokenise(b"a)b x\\\\y \xe4 a\\ b") == [(QUOTE, b"a)b"), (QUOTE, b"x\\y"), (QUOTE, b"\xe4"), (ATOM, b"a b")]


def test_a_backslash_at_the_very_end_escapes_nothing() -> None:
    assert tokenise(b"ab\\") == [(ATOM, b"ab")]


def test_a_word_cannot_end_its_field() -> None:
    assert render([(ATOM, b"From"), (COLON, COLON), (QUOTE, b"x\nBcc: y")]) == b'From: "x\\\n Bcc: y"\n'
    assert rewritten(b"To: a\\\n")[0] == b"To: a\n"
    assert rewritten(b"To: \\\n")[0] == b'To: ""\n'


def test_addresses_are_seen_from_right_to_left() -> None:
    assert rewritten(b"To: a@b, G: c, d@e;, F <f@g>")[1] == [b"f@g", b"d@e", b"c", b"a@b"]


def test_comments_move_behind_their_address() -> None:
    assert rewritten(b"To: (pre) a (mid) @ b (end)")[0] == b"To: a@b (pre) (mid) (end)\n"


def test_missing_commas_are_put_in() -> None:
    assert rewritten(b"To: a@b c@d;e")[0] == b"To: a@b, c@d;, e\n"


def test_the_empty_bracketed_address_is_seen() -> None:
    assert rewritten(b"To: <>, A. B <>") == (b"To: <>, A.B <>\n", [b"", b""])


def test_lines_break_after_commas_only_where_they_must() -> None:
    address = b"a" * 40
    assert render(tokenise(b"To: %b, b" % address)) == b"To: %b, b\n" % address
    folded = render(tokenise(b"To: " + b",".join([address] * 3)))
    assert folded == b"To: %b,\n  %b,\n  %b\n" % (address, address, address)


def test_a_line_may_grow_to_seventy_eight_columns() -> None:
    fits, long = b"a" * 36, b"a" * 37
    assert render(tokenise(b"To: %b,%b" % (fits[:-1], fits))) == b"To: %b, %b\n" % (fits[:-1], fits)
    assert b"\n  " in render(tokenise(b"To: %b,%b" % (long, fits)))
