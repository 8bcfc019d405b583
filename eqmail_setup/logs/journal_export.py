"""Lines of a saved journal of systemd: `journalctl -o export` and `-o json`; other files are read as they are.

Fails: never; a damaged end is passed over.
Source: journalctl(1); https://systemd.io/JOURNAL_EXPORT_FORMATS/.
"""

import json
from collections.abc import Iterator
from typing import IO

MAX_FIELD_BYTES = 1 << 20
"""A longer field of one entry is passed over."""

_MICROSECONDS = 1e6
_TIME, _MESSAGE = b"__REALTIME_TIMESTAMP", b"MESSAGE"


def plain_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a log; those of a saved journal as `SECONDS TEXT`."""
    first = file.readline()
    if first.startswith(b"__CURSOR="):
        yield from _exported(file)
    elif first.startswith((b'{"', b"{ ")):
        yield from _from_json(first)
        for line in file:
            yield from _from_json(line)
    elif first:
        yield first
        yield from file


def _exported(file: IO[bytes]) -> Iterator[bytes]:
    """Entries end with an empty line; a field is NAME=VALUE, or NAME, 8 bytes of length and the value."""
    fields: dict[bytes, bytes] = {}
    for line in file:
        name, equals, value = line.rstrip(b"\n").partition(b"=")
        if not name:
            yield from _line(fields)
            fields = {}
            continue
        if not equals:
            size = int.from_bytes(file.read(8), "little")
            if size > MAX_FIELD_BYTES:
                return
            value = file.read(size)
            file.read(1)
        if name in (_TIME, _MESSAGE):
            fields[name] = value
    yield from _line(fields)


def _from_json(line: bytes) -> Iterator[bytes]:
    try:
        entry = json.loads(line)
        message = entry[_MESSAGE.decode()]
        # What is not UTF-8 is a list of bytes.
        text = bytes(message) if isinstance(message, list) else str(message).encode()
        yield from _line({_TIME: str(entry[_TIME.decode()]).encode(), _MESSAGE: text})
    except (ValueError, KeyError, TypeError):
        return


def _line(fields: dict[bytes, bytes]) -> Iterator[bytes]:
    when = fields.get(_TIME, b"")
    if _MESSAGE in fields and when.isdigit() and len(when) < 20:
        yield b"%.6f %s\n" % (int(when) / _MICROSECONDS, fields[_MESSAGE])
