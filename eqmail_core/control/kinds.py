"""The kinds of control settings with one value: how the bytes of a file become it, leniently, with remarks.

Source: control-files.md 2.1.
"""

from eqmail_core.control.setting import Control, ControlSet, Text, line_remarks
from eqmail_core.text.lines import MAX_COUNT, MAX_WAIT_S, first_line, leading_number

MAX_BYTES = 2**63 - 1
"""Greatest size of a setting, as a file can have."""

MAX_CONCURRENT = 255
"""Greatest number of deliveries or processes at a time: the protocols of C number them in a byte."""

AS_C = b"c"
"""The word of a setting for what C does."""


class Count(Control[int]):
    """A decimal number; an invalid value leaves the default in force, one out of range counts as its end."""

    kind = "number"
    least, most = 0, MAX_COUNT

    def __init__(
        self,
        manual: str,
        *,
        default: int,
        least: int = 0,
        most: int | None = None,
        env: str = "",
        used_by: tuple[str, ...] = (),
        reload_on_hup: bool = False,
        since: str = "",
    ) -> None:
        super().__init__(manual, default=default, env=env, used_by=used_by, reload_on_hup=reload_on_hup, since=since)
        self.least = least
        self.most = self.most if most is None else most

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
        if self.least <= number <= self.most:
            return number, remarks
        nearest = min(max(number, self.least), self.most)
        return nearest, [*remarks, f"is not between {self.least} and {self.most} and counts as {nearest}"]


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


class Opaque(Control["bytes | None"]):
    """A whole file in a format of its own (a script, a certificate, a delivery instruction)."""

    kind = "file"

    def parse(self, text: bytes) -> "tuple[bytes | None, list[str]]":
        """Take the bytes as they are."""
        return text, []


class ForeignFile(Opaque):
    """A whole file in the format of another program (PEM, cdb, OpenSSL's own): its text is not judged here."""


class DeliveryInstructions(Opaque):
    """Instructions as in a .qmail file, for users who have none; with a blank first line all their mail waits."""

    def parse(self, text: bytes) -> "tuple[bytes | None, list[str]]":
        """Take the bytes as they are; a blank first line is remarked."""
        is_blank = not text.partition(b"\n")[0].partition(b"\0")[0].strip(b" \t")
        return text, ["the first line is blank, so mail for users without a .qmail file waits"] if is_blank else []


class Word(Text):
    """A line that is one of `words`; for anything else the default is in force."""

    kind = "word"

    def __init__(
        self,
        manual: str,
        *,
        words: tuple[bytes, ...],
        default: bytes,
        env: str = "",
        used_by: tuple[str, ...] = (),
        since: str = "",
    ) -> None:
        super().__init__(manual, default=default, env=env, used_by=used_by, since=since)
        self.words = words

    def parse(self, text: bytes) -> tuple[bytes, list[str]]:
        """Take the first line; remark on an unknown word."""
        value, remarks = _word(text, self.words)
        return self.default if value is None else value, remarks


class OptionalWord(Control["bytes | None"]):
    """A line that is one of `words`; None where the file is absent, and for anything else."""

    kind = "word"

    def __init__(
        self,
        manual: str,
        *,
        words: tuple[bytes, ...],
        env: str = "",
        used_by: tuple[str, ...] = (),
        since: str = "",
    ) -> None:
        super().__init__(manual, default=None, env=env, used_by=used_by, since=since)
        self.words = words

    def parse(self, text: bytes) -> "tuple[bytes | None, list[str]]":
        """Take the first line; remark on an unknown word."""
        return _word(text, self.words)


def _word(text: bytes, words: tuple[bytes, ...]) -> "tuple[bytes | None, list[str]]":
    """Return the first line if it is one of the words, and the remarks."""
    value, remarks = first_line(text), line_remarks(text)
    if value in words:
        return value, remarks
    known = ", ".join(word.decode() or "''" for word in words)
    shown = value.decode("latin-1")
    return None, [*remarks, f"{shown!r} is not one of {known}; the default is in force"]
