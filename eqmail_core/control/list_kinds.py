"""The kinds of control settings with many entries, one a line: lists and maps, read leniently, with remarks.

Source: control-files.md 2.1.
"""

from eqmail_core.control.setting import Control
from eqmail_core.mail.domain_name import table_key
from eqmail_core.text.lines import key_values, non_empty_lines, period


class Periods(Control["list[int] | None"]):
    """Lines of one period each, a number and perhaps a unit (30s, 10m, 4h, 1d); None where the file is absent."""

    kind = "list of periods"

    def parse(self, text: bytes) -> "tuple[list[int] | None, list[str]]":
        """List the periods in seconds; remark on lines that are none, and pass over them."""
        lines = non_empty_lines(text)
        values = [period(line) for line in lines]
        wrong = [line for line, value in zip(lines, values, strict=True) if not value]
        remarks = [f"{line.decode('latin-1')!r} is not a period such as 30s, 10m, 4h or 1d" for line in wrong]
        return [value for value in values if value] or None, remarks


class Lines(Control["list[bytes] | None"]):
    """All lines that are neither empty nor comments; None where the file is absent."""

    kind = "list"

    def parse(self, text: bytes) -> "tuple[list[bytes] | None, list[str]]":
        """List the lines; remark on blanks at the start, which are part of the entry."""
        lines = non_empty_lines(text)
        remarks = [f"the entry {line.decode('latin-1')!r} begins with a blank" for line in lines if line[:1] in b" \t"]
        if b"\0" in text:
            remarks.append("contains a NUL byte")
        return lines, remarks


class Map(Control["dict[bytes, bytes] | None"]):
    """Lines KEY:VALUE, keys domains or addresses as `table_key` has them; None where the file is absent."""

    kind = "map"

    def parse(self, text: bytes) -> "tuple[dict[bytes, bytes] | None, list[str]]":
        """Map the lines; remark on those without a colon and on keys given twice."""
        lines = non_empty_lines(text)
        # No more than the first word: passwords stand behind it.
        words = [line.partition(b" ")[0].decode("latin-1") for line in lines if b":" not in line]
        remarks = [f"the line {word!r} has no colon" for word in words]
        seen: set[bytes] = set()
        twice: set[bytes] = set()
        for line in lines:
            if b":" in line:
                key = table_key(line.partition(b":")[0])
                (twice if key in seen else seen).add(key)
        remarks += [f"{key.decode('latin-1')!r} is given twice, the last counts" for key in twice]
        return key_values(lines, table_key), remarks


class PeriodMap(Control["dict[bytes, int] | None"]):
    """Lines KEY:PERIOD, keys domains as `table_key` has them, values in seconds; None where the file is absent."""

    kind = "map of periods"

    def parse(self, text: bytes) -> "tuple[dict[bytes, int] | None, list[str]]":
        """Map the lines; remark on those that are no KEY:PERIOD, and pass over them."""
        found = {}
        remarks = []
        for line in non_empty_lines(text):
            key, colon, value = line.partition(b":")
            seconds = period(value) if colon else None
            if seconds is None:
                remarks.append(f"the line {line.decode('latin-1')!r} is not KEY:PERIOD, such as example.org:2d")
            else:
                found[table_key(key)] = seconds
        return found, remarks


NO_END = 0
"""The time of an entry that has no end."""

_TIME = "%Y-%m-%dT%H:%M:%S%z"


def parse_time(text: bytes) -> int | None:
    """Read a time, such as 2026-12-01T14:00:00Z, in seconds since the epoch; None for anything else."""
    # Imported here: few hosts have such a line, and programs that run once per message read settings too.
    from datetime import datetime

    try:
        return int(datetime.strptime(text.decode("ascii"), _TIME).timestamp())
    except (ValueError, OverflowError):
        return None


def render_time(when: int) -> bytes:
    """Return the text in UTC that `parse_time` reads.  Fails: OverflowError for the year 10000."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(when, UTC).strftime(_TIME).replace("+0000", "Z").encode()


class TimeMap(Control["dict[bytes, int] | None"]):
    """Lines DOMAIN, or DOMAIN:TIME with the end of the entry; None where the file is absent."""

    kind = "map of times"

    def parse(self, text: bytes) -> "tuple[dict[bytes, int] | None, list[str]]":
        """Map the lines; remark on an invalid time, with which the entry has no end."""
        found = {}
        remarks = []
        for line in non_empty_lines(text):
            domain, colon, value = line.partition(b":")
            end = parse_time(value.strip()) if colon else NO_END
            if end is None:
                shown = line.decode("latin-1")
                remarks.append(f"the line {shown!r} is not DOMAIN:TIME, such as example.org:2026-12-01T14:00:00Z")
            found[table_key(domain.strip())] = end or NO_END
        return found, remarks
