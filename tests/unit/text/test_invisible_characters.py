"""Characters that are invisible in an editor are reported and shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.text.invisible_characters import cleaned, oddities, visible


@pytest.mark.parametrize(
    ("text", "output"),
    [
        (b"a\nb\n", []),
        ("müller.example\n".encode(), []),
        (b"a\tb\n", []),
        (b"a\r\n", [(0, "line 1 ends in CR (a file of Windows), which counts as part of the line")]),
        (
            b"a\nb\r\nc\r",
            [(0, "2 lines, the first is line 2, end in CR (a file of Windows), which counts as part of the line")],
        ),
        (
            b"\xef\xbb\xbfa\n",
            [(0, "begins with a byte order mark (UTF-8 of Windows), which counts as part of the first line")],
        ),
        (b"a\nb\xe4\n", [(2, "holds what is no UTF-8: \\xe4")]),
        ("a\u200bb\u00a0\n".encode(), [(1, "holds what cannot be seen: \\u200b\\xa0")]),
        (b"a\rb\n", [(1, "holds what cannot be seen: \\r")]),
        (b"\x1b[2J\n", [(1, "holds what cannot be seen: \\x1b")]),
    ],
)
def test_invisible_characters_are_reported(text: bytes, output: list[tuple[int, str]]) -> None:
    assert oddities(text) == output


@given(st.binary(max_size=60) | st.text(max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_shown_text_is_always_printable(data: bytes) -> None:
    assert visible(data).isprintable()
    oddities(data)


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\xef\xbb\xbf", b" "])).map(b"".join))
def test_a_cleaned_text_ends_no_line_in_cr(text: bytes) -> None:
    assert not any(line.endswith(b"\r") for line in cleaned(text).split(b"\n"))
    assert cleaned(text).count(b"\n") == text.count(b"\n")
