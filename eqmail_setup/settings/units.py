"""Values that people write in units: sizes (20M), durations (7d), on and off; and what a control file has for them."""

import re
from typing import Any

from eqmail_core.control.kinds import Count
from eqmail_core.control.setting import Control

_SIZE = re.compile(r"([0-9]+)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]+)\s*([smhdw]?)", re.IGNORECASE)
_FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_MAX_DIGITS = 15

ON, OFF = ("on", "yes", "true", "1"), ("off", "no", "false", "0")


def parse_size(text: str) -> int | None:
    """Bytes: a number with K, M, G or T behind it, powers of 1024; None for anything else."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or len(match[1]) > _MAX_DIGITS:
        return None
    return int(match[1]) * _FACTORS[match[2].upper()]


def parse_duration(text: str) -> int | None:
    """Seconds: a number with s, m, h, d or w behind it; None for anything else."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or len(match[1]) > _MAX_DIGITS:
        return None
    return int(match[1]) * _SECONDS[match[2].lower()]


def parse_switch(text: str) -> bool | None:
    """on or off, in any of the usual words; None for anything else."""
    word = text.strip().lower()
    return True if word in ON else False if word in OFF else None


def size_text(size_bytes: int) -> str:
    """A size for people: 500 B, 1.5 KB, 20 GB."""
    value, unit = float(size_bytes), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if value < 1024 or unit == "TB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 10 or value == int(value) else f"{value:.1f} {unit}"


def duration_text(seconds: int) -> str:
    """A duration in the largest unit that is whole: 7d, 90m, 45s."""
    for unit, factor in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % factor == 0:
            return f"{seconds // factor}{unit}"
    return f"{seconds}s"


def file_text(control: Control[Any], value: str) -> str | None:
    """The line of a control file for a value as people write it; None where it is no value of this kind.

    Programs read plain numbers, 1 and 0, as C does.
    """
    if control.kind == "flag":
        switch = parse_switch(value)
        return None if switch is None else str(int(switch))
    if control.kind in ("seconds", "bytes") and value.strip() and not value.strip().isdigit():
        number = parse_duration(value) if control.kind == "seconds" else parse_size(value)
        return None if number is None else str(number)
    return value


def expected_text(control: Control[Any]) -> str:
    """What a value of this setting looks like: its words or its range, else an example of its kind."""
    examples = {"flag": "on or off", "seconds": "a duration such as 300, 90m or 7d", "bytes": "a size such as 20M"}
    return accepted_values(control) or examples.get(control.kind, control.kind)


def accepted_values(control: Control[Any]) -> str:
    """The words or the range of a setting that has such; "" for any other."""
    if control.words:
        return ", ".join(word.decode() or "''" for word in control.words)
    if isinstance(control, Count) and (control.least, control.most) != (Count.least, type(control).most):
        return f"{control.least} to {control.most}"
    return ""


def value_with_unit(control: Control[Any], value: object) -> str:
    """A value for people: on and off, and behind a number its largest whole unit."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int) and control.kind == "seconds" and value >= 60 and value % 60 == 0:
        return f"{value} ({duration_text(value)})"
    if isinstance(value, int) and control.kind == "bytes" and value >= 1024:
        return f"{value} ({size_text(value)})"
    return str(value)
