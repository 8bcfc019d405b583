"""The kinds of control settings beside lines of text: how the bytes of a file become a value, leniently, with remarks.

Source: control-files.md 2.1.
"""

from eqmail_core.control.setting import Control, ControlSet, Line, line_remarks
from eqmail_core.mail.domain_name import table_key
from eqmail_core.text.lines import (
    MAX_COUNT,
    MAX_WAIT_S,
    first_line,
    key_values,
    leading_number,
    non_empty_lines,
    period,
)

MAX_BYTES = 2**63 - 1
"""Greatest size of a setting, as a file can have."""

AS_C = b"c"
"""The word of a setting for what C does."""


class Count(Control[int]):
    """A decimal number; an invalid value leaves the default in force, and one beyond `most` counts as `most`."""

    kind = "number"
    most = MAX_COUNT

    def parse(self, text: bytes) -> tuple[int, list[str]]:
        """Take the leading digits of the first line."""
        line = first_line(text)
        remarks = line_remarks(text)
        number = leading_number(line)
        if number is None:
            remarks.append(f"is not a number, the default {self.default} is in force")
            return self.default, remarks
        if not line.isdigit():
            remarks.append(f"has text after the number {number}")
        if number > self.most:
            remarks.append(f"is more than {self.most}, which is in force")
        return min(number, self.most), remarks


class Bound(Count):
    """How much others may cause, 0 for no limit; as in C unlimited if `choice` is c and the setting absent."""

    def __init__(
        self,
        manual: str,
        *,
        choice: "Control[bytes | None]",
        default: int,
        env: str = "",
        used_by: tuple[str, ...] = (),
        since: str = "",
    ) -> None:
        super().__init__(manual, default=default, env=env, used_by=used_by, since=since)
        self._choice = choice

    def read(self, source: ControlSet) -> int:
        """Find the value; see `Control.read`."""
        if self._choice.read(source) == AS_C:
            is_set = self.env.encode() in source.environ or source.content(self.file) is not None
            return super().read(source) if is_set else 0
        return super().read(source)


class Seconds(Count):
    """A number of seconds."""

    kind = "seconds"


class Timeout(Seconds):
    """Seconds of a timeout: at most what poll and select take, in milliseconds."""

    most = MAX_WAIT_S


class Size(Count):
    """A number of bytes."""

    kind = "bytes"
    most = MAX_BYTES


class Flag(Control[bool]):
    """On when the file exists and its first line is not 0, no or off."""

    kind = "flag"

    def parse(self, text: bytes) -> tuple[bool, list[str]]:
        """On unless the first line says no."""
        return _is_on(text), line_remarks(text)


class Switch(Control["bool | None"]):
    """A flag that means a third thing, None, where the file is absent."""

    kind = "flag"

    def parse(self, text: bytes) -> "tuple[bool | None, list[str]]":
        """On unless the first line says no."""
        return _is_on(text), line_remarks(text)


def _is_on(text: bytes) -> bool:
    return first_line(text).lower() not in (b"0", b"no", b"off")


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


class Opaque(Control["bytes | None"]):
    """A whole file in a format of its own (a script, a certificate, a delivery instruction)."""

    kind = "file"

    def parse(self, text: bytes) -> "tuple[bytes | None, list[str]]":
        """Take the bytes as they are."""
        return text, []


class DeliveryInstructions(Opaque):
    """Instructions as in a .qmail file, for users who have none; with a blank first line all their mail waits."""

    def parse(self, text: bytes) -> "tuple[bytes | None, list[str]]":
        """Take the bytes as they are; a blank first line is remarked."""
        is_blank = not text.partition(b"\n")[0].partition(b"\0")[0].strip(b" \t")
        return text, ["the first line is blank, so mail for users without a .qmail file waits"] if is_blank else []


class Word(Line):
    """A line that is one of `words`; for anything else the default is in force."""

    kind = "word"

    def __init__(
        self,
        manual: str,
        *,
        words: tuple[bytes, ...],
        default: bytes | None,
        env: str = "",
        used_by: tuple[str, ...] = (),
        since: str = "",
    ) -> None:
        super().__init__(manual, default=default, env=env, used_by=used_by, since=since)
        self.words = words

    def parse(self, text: bytes) -> "tuple[bytes | None, list[str]]":
        """Take the first line; remark on an unknown word."""
        value, remarks = super().parse(text)
        if value in self.words:
            return value, remarks
        known = ", ".join(repr(word.decode()) for word in self.words)
        return self.default, [*remarks, f"is not one of {known}; the default is in force"]
