"""Control-file text: lines as the suite's readers see them.

Source: control-files.md 2.1 (control.c, constmap.c).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_TRAILING = b" \t\n"

MAX_DIGITS = 20
"""Digits of the longest number that is read, as RFC 1870 has it; Python refuses to read some thousands of them."""


def first_line(text: bytes) -> bytes:
    """The first line without trailing blanks; an empty file yields b""."""
    return text.split(b"\n", 1)[0].rstrip(_TRAILING)


def leading_number(text: bytes) -> int | None:
    """The decimal digits at the start as a number; None where there are none.  Digits beyond the 20th are not read."""
    end = 0
    while end < len(text) and 48 <= text[end] <= 57:
        end += 1
    return int(text[: min(end, MAX_DIGITS)]) if end else None


MAX_COUNT = 2**31 - 1
"""Greatest number of a setting or an option, as an int of C has it."""

MAX_WAIT_S = 1_000_000
"""Longest time-out of a setting or an option, eleven days; poll takes 2**31 - 1 milliseconds."""


def number_of_option(text: bytes, limit: int = MAX_COUNT) -> int:
    """The number of an option or a variable, 0 where it is none, `most` where it is greater."""
    return min(leading_number(text) or 0, limit)


UNITS_S = {b"": 1, b"s": 1, b"m": 60, b"h": 3600, b"d": 86400, b"w": 604800}
"""Seconds in each unit of a period."""


MAX_PERIOD_S = 2**31 - 1
"""Longest period, 68 years: added to now it is a time that files can have."""


def period(text: bytes) -> int | None:
    """A period such as 90, 30s, 10m, 4h, 1d or 2w in seconds, `MAX_PERIOD_S` at most; None where the text is none."""
    digits = text.strip().rstrip(b"smhdw")
    unit = text.strip()[len(digits) :]
    if not (digits.isdigit() and len(digits) <= MAX_DIGITS and unit in UNITS_S):
        return None
    return min(int(digits) * UNITS_S[unit], MAX_PERIOD_S)


def non_empty_lines(text: bytes) -> list[bytes]:
    """All lines without trailing blanks, except empty ones and those that start with #."""
    lines = (line.rstrip(_TRAILING) for line in text.split(b"\n"))
    return [line for line in lines if line and not line.startswith(b"#")]


def key_values(lines: list[bytes], key_of: "Callable[[bytes], bytes]" = bytes.lower) -> dict[bytes, bytes]:
    """Lines KEY:VALUE as a map; keys by `key_of`, the last of equal keys wins, lines without colon are ignored."""
    result = {}
    for line in lines:
        key, colon, value = line.partition(b":")
        if colon:
            result[key_of(key)] = value
    return result
