"""Command lines in the grammar of the suite's getopt."""

import pytest

from eqmail_core.text.options import BadOption, parse_options, program_name


@pytest.mark.parametrize(
    ("words", "options", "rest"),
    [
        (b"", [], []),
        (b"-a -b x", [(b"a", b""), (b"b", b"")], [b"x"]),
        (b"-abfx y", [(b"a", b""), (b"b", b""), (b"f", b"x")], [b"y"]),
        (b"-f x y", [(b"f", b"x")], [b"y"]),
        (b"-a - -b", [(b"a", b"")], [b"-", b"-b"]),
        (b"-a -- -b", [(b"a", b"")], [b"-b"]),
        (b"--long -b", [], [b"-b"]),
        (b"x -a", [], [b"x", b"-a"]),
        (b"-Erest -E -a", [(b"E", b"rest"), (b"E", b""), (b"a", b"")], []),
    ],
)
def test_options_are_split_from_words(words: bytes, options: list[tuple[bytes, bytes]], rest: list[bytes]) -> None:
    assert parse_options([b"prog", *words.split()], b"abf:E::") == (options, rest)


def test_an_argument_may_be_empty() -> None:
    assert parse_options([b"prog", b"-f", b"", b"x"], b"f:") == ([(b"f", b"")], [b"x"])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (b"-z", b"illegal option -- z"),
        (b"-az", b"illegal option -- z"),
        (b"-:", b"illegal option -- :"),
        (b"-f", b"option requires an argument -- f"),
    ],
)
def test_bad_options_are_named(words: bytes, text: bytes) -> None:
    with pytest.raises(BadOption) as caught:
        parse_options([b"prog", *words.split()], b"abf:")
    assert caught.value.text == text


def test_the_program_is_called_by_the_end_of_its_path() -> None:
    assert program_name([b"/var/qmail/bin/mailq"]) == b"mailq"
    assert program_name([]) == b""
