"""The file that holds the quota of a Maildir, and the sizes in file names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.mailbox.maildirsize import fits, is_trashed, line, parse, render, size_in, sized


@pytest.mark.parametrize(
    ("first", "quota"),
    [
        (b"5000S,10C", (5000, 10)),
        (b"10C,5000S", (5000, 10)),
        (b"5000S", (5000, 0)),
        (b"10C", (0, 10)),
        (b"0S,0C", (0, 0)),
        (b"", (0, 0)),
        (b"NOQUOTA", (0, 0)),
        (b"5000S,7X,xC", (5000, 0)),
    ],
)
def test_the_first_line_is_the_quota(first: bytes, quota: tuple[int, int]) -> None:
    assert parse(first + b"\n           0            0\n") == (quota, (0, 0))


CHANGES = st.integers(-(1 << 59), 1 << 59)


@given(st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 20)), st.lists(st.tuples(CHANGES, CHANGES)))
def test_lines_add_up(start: tuple[int, int], changes: list[tuple[int, int]]) -> None:
    text = render(b"1S", start) + b"".join(map(line, changes))
    size, count = (sum(numbers) for numbers in zip(start, *changes, strict=True))
    assert parse(text) == ((1, 0), (size, count))


@given(st.binary())
def test_any_file_is_read(text: bytes) -> None:
    parse(text)


def test_invalid_lines_count_as_zero() -> None:
    assert parse(b"1S\nx y\n5\n-\n- 1\n7 1\n3 1 1\n")[1] == (7, 1)


@pytest.mark.parametrize("word", [b"--5", b"-", b"5-", b"1_0", b"+5", b"9" * 5000, b"-" + b"9" * 5000])
def test_words_count_as_zero(word: bytes) -> None:
    assert parse(b"10S,%bC,%bS\n7 1\n%b 1\n1 %b\n" % (word, word, word, word)) == ((10, 0), (7, 1))
    assert size_in(b"1.x.h,S=" + word) is None


@given(st.binary(min_size=1).filter(lambda name: not set(name) & set(b",:/")), st.integers(0, 1 << 59), st.booleans())
def test_a_file_name_holds_its_size(name: bytes, size: int, seen: bool) -> None:
    assert size_in(sized(name, size) + b":2,S" * seen) == size
    assert size_in(name) is None and size_in(name + b":2,S=5") is None


@pytest.mark.parametrize(("name", "trashed"), [(b"1.T.h", False), (b"1.a.h:2,ST", True), (b"1.a.h:2,S", False)])
def test_trashed_messages_count_unless_configured(name: bytes, trashed: bool) -> None:
    assert is_trashed(name) == trashed


@pytest.mark.parametrize(
    ("quota", "size", "fit"),
    [((0, 0), 1 << 50, True), ((10, 0), 5, True), ((10, 0), 6, False), ((0, 2), 9, True), ((0, 1), 0, False)],
)
def test_what_fits(quota: tuple[int, int], size: int, fit: bool) -> None:
    assert fits(quota, (5, 1), size) == fit
