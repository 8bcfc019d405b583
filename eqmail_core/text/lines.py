"""Control-file text: lines, numbers and maps as all programs read them.

Source: control-files.md 2.1 (control.c, constmap.c).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_TRAILING = b" \t\n"

MAX_DIGITS = 20
"""Most digits of a number that are read, as in RFC 1870.

Python refuses to convert some thousands of digits.
"""


def first_line(text: bytes) -> bytes:
    """Return the first line without trailing blanks; b"" for an empty file."""
    return text.split(b"\n", 1)[0].rstrip(_TRAILING)


def leading_number(text: bytes) -> int | None:
    """Return the number in the leading decimal digits; None without any.

    Digits after the 20th are not read.
    """
    end = 0
    while end < len(text) and 48 <= text[end] <= 57:
        end += 1
    return int(text[: min(end, MAX_DIGITS)]) if end else None


MAX_COUNT = 2**31 - 1
"""Largest number of a setting or an option, the limit of a C int."""

MAX_WAIT_S = 1_000_000
"""Longest timeout of a setting or an option, eleven days; poll's limit is 2**31 - 1 ms."""


def number_of_option(text: bytes, limit: int = MAX_COUNT) -> int:
    """Return the number of an option or a variable: 0 without digits, at most `limit`."""
    return min(leading_number(text) or 0, limit)


UNITS_S = {b"": 1, b"s": 1, b"m": 60, b"h": 3600, b"d": 86400, b"w": 604800}
"""Seconds in each unit of a period."""


MAX_PERIOD_S = 2**31 - 1
"""Longest period, 68 years: added to the current time it is a valid file time."""


def period(text: bytes) -> int | None:
    """Return a period such as 90, 30s, 10m, 4h, 1d or 2w in seconds; None for other text.

    The result is at most MAX_PERIOD_S.
    """
    digits = text.strip().rstrip(b"smhdw")
    unit = text.strip()[len(digits) :]
    if not (digits.isdigit() and len(digits) <= MAX_DIGITS and unit in UNITS_S):
        return None
    return min(int(digits) * UNITS_S[unit], MAX_PERIOD_S)


def non_empty_lines(text: bytes) -> list[bytes]:
    """Return all lines without trailing blanks, except empty lines and those that begin with #."""
    lines = (line.rstrip(_TRAILING) for line in text.split(b"\n"))
    return [line for line in lines if line and not line.startswith(b"#")]


def key_values(lines: list[bytes], key_of: "Callable[[bytes], bytes]" = bytes.lower) -> dict[bytes, bytes]:
    """Return lines KEY:VALUE as a map; `key_of` normalizes the keys.

    The last of equal keys wins. Lines without a colon are ignored.
    """
    result = {}
    for line in lines:
        key, colon, value = line.partition(b":")
        if colon:
            result[key_of(key)] = value
    return result
