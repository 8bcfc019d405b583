"""users/assign as an administrator edits it: entries by name, everything else of the file as it stands.

A line stays byte for byte as it is unless its entry is what a command is about; comments cannot be there, as the
format has none, and what stands after the line with the dot is kept.

Fails: Refusal with file and line for a text that is no assign file.
Source: delivery.md 5.1; qmail-users(5).
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from eqmail_core.system.files import read_file
from eqmail_core.users.assign_file import END, FIELDS, BadAssign, database_records, simple_line, wildcard_line
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.mail.routing import text
from eqmail_setup.settings.cdb import database_bytes

MAX_ID = (1 << 32) - 2


class AssignEntry(NamedTuple):
    """One line: who gets mail for `local`, or for everything that begins with it where it is a wildcard."""

    local: str
    wildcard: bool
    user: str
    uid: int
    gid: int
    home: str
    dash: str = ""
    ext: str = ""

    def line(self) -> bytes:
        """The line of the file.

        Fails: Refusal for what the grammar cannot say.
        """
        for field in (self.local, self.user, self.home, self.dash, self.ext):
            if any(sign in field for sign in ":\n\0"):
                raise usage_error(f"{field!r} cannot be written into users/assign: no colons, no line ends")
        if not self.wildcard and not self.local:
            raise usage_error("give a name")
        if self.uid > MAX_ID or self.gid > MAX_ID:
            raise usage_error(f"{self.uid}:{self.gid} are no ids; the largest is {MAX_ID}")
        if not self.home.startswith("/"):
            raise usage_error(f"the home {self.home!r} is not a path that begins with a slash")
        fields = [self.user, str(self.uid), str(self.gid), self.home, self.dash, self.ext]
        make = wildcard_line if self.wildcard else simple_line
        return make(os.fsencode(self.local), [os.fsencode(field) for field in fields])

    def key(self) -> tuple[bool, bytes]:
        """What the entry is found by: names count without regard to case."""
        return self.wildcard, os.fsencode(self.local).lower()


class Assignments:
    """The lines of one assign file; `tail` begins with the line that has the dot."""

    def __init__(self, path: str, content: bytes | None) -> None:
        self.path = path
        self._lines: list[bytes] = []
        self._tail = END
        lines = (END if content is None else content).splitlines(keepends=True)
        for number, line in enumerate(lines):
            if line.startswith(b"."):
                self._tail = b"".join(lines[number:])
                break
            self._lines.append(line)
        require_valid(path, END if content is None else content)

    def content(self) -> bytes:
        """The bytes of the file."""
        return b"".join(self._lines) + self._tail

    def entries(self) -> Iterator[AssignEntry]:
        """Every entry, in order."""
        for line in self._lines:
            yield _entry(line)

    def put(self, entries: Iterable[AssignEntry], replace: bool) -> None:
        """Have these entries, and no others of their keys.

        Fails: Refusal, unless `replace`, where there is another one.
        """
        expected = [(entry, entry.line(), entry.key()) for entry in entries]
        places = self._places({key for _, _, key in expected})
        surplus: set[int] = set()
        for entry, line, key in expected:
            found = places.setdefault(key, [])
            for number in found:
                if _entry(self._lines[number]) != entry and not replace:
                    shown = text(self._lines[number].strip())
                    raise EqmailError(f"{self.path}: line {number + 1} says {shown}; --replace replaces it")
            if not found:
                found.append(len(self._lines))
                self._lines.append(line)
            elif len(found) > 1 or _entry(self._lines[found[0]]) != entry:
                self._lines[found[0]] = line
                surplus.update(found[1:])
                del found[1:]
        if surplus:
            self._lines = [line for number, line in enumerate(self._lines) if number not in surplus]

    def _places(self, keys: set[tuple[bool, bytes]]) -> dict[tuple[bool, bytes], list[int]]:
        """Where the entries of these keys are: numbers of lines."""
        found: dict[tuple[bool, bytes], list[int]] = {}
        for number, line in enumerate(self._lines):
            key = _key(line)
            if key in keys:
                found.setdefault(key, []).append(number)
        return found

    def drop(self, keys: Iterable[tuple[bool, bytes]]) -> list[AssignEntry]:
        """Remove the entries of these keys; which they were."""
        keys = set(keys)
        dropped = [line for line in self._lines if _key(line) in keys]
        if dropped:
            self._lines = [line for line in self._lines if _key(line) not in keys]
        return [_entry(line) for line in dropped]


def read_assignments(path: str) -> Assignments:
    """The assign file of an installation; an empty one if the file is missing."""
    return Assignments(path, read_file(path))


def require_valid(path: str, content: bytes) -> None:
    """Refuse a text that the programs would not take.

    Fails: Refusal with the line.
    """
    try:
        for _ in database_records(content.splitlines(keepends=True)):
            pass
    except BadAssign as bad:
        raise require_entries(path, content, bad) from bad


def require_entries(path: str, content: bytes, bad: BadAssign) -> EqmailError:
    """The refusal of a text for its bad line."""
    lines = content.splitlines(keepends=True)
    if bad.line > len(lines):
        return EqmailError(f"{path}: line {bad.line}: the end is missing; add a line that has only a dot")
    line = text(lines[bad.line - 1].strip())
    expected = "write =LOCAL:user:uid:gid:home:dash:ext: or +PREFIX:...; the last line is a dot"
    return EqmailError(f"{path}: line {bad.line}: {line!r} is no entry; {expected}")


def compile_assign(content: bytes, on_progress: Callable[[int], None] = lambda count: None) -> bytes:
    """The database that a text compiles to, byte for byte what qmail-newu makes; `watch` is called every 1000 lines.

    Fails: OSError; BadAssign.
    """

    def watched() -> Iterator[bytes]:
        for number, line in enumerate(content.splitlines(keepends=True), 1):
            if number % 1000 == 0:
                on_progress(number)
            yield line

    return database_bytes(database_records(watched()))


def _key(line: bytes) -> tuple[bool, bytes]:
    """What the entry of a line is found by; asked of every line of large files, so nothing more is parsed."""
    return line[:1] == b"+", line[1 : line.index(b":")].lower()


def _entry(line: bytes) -> AssignEntry:
    head, _, rest = line.partition(b":")
    user, uid, gid, home, dash, ext = (text(field) for field in rest.split(b":")[:FIELDS])
    return AssignEntry(text(head[1:]), head[:1] == b"+", user, _number(uid), _number(gid), home, dash, ext)


def _number(field: str) -> int:
    digits = field[: len(field) - len(field.lstrip("0123456789"))]
    return int(digits) if digits else 0
