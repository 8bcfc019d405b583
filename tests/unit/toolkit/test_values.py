"""Sizes, durations and switches as people write them."""

import pytest

from eqmail_setup.settings.units import duration_text, parse_duration, parse_size, parse_switch, size_text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("20M", 20 << 20),
        ("5g", 5 << 30),
        ("5 GB", 5 << 30),
        ("1KiB", 1024),
        ("-1", None),
        ("5X", None),
        ("", None),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7d", 604800), ("90m", 5400), ("45", 45), ("1W", 604800), ("x", None), ("1y", None), ("", None)],
)
def test_durations(text: str, seconds: int | None) -> None:
    assert parse_duration(text) == seconds


def test_a_duration_is_shown_as_it_can_be_written() -> None:
    for seconds in (0, 1, 59, 60, 3600, 5400, 86400, 604800, 86401):
        assert parse_duration(duration_text(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "value"), [("on", True), ("Yes", True), ("0", False), ("off", False), ("maybe", None)]
)
def test_switches(text: str, value: bool | None) -> None:
    assert parse_switch(text) == value


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (5 << 30, "5 GB"), (1536, "1.5 KB"), (20 << 40, "20 TB")]
)
def test_sizes_are_shown_with_units(size: int, text: str) -> None:
    assert size_text(size) == text
