"""Test messages that carry their identity and a checksum."""

import random
import re
import zlib
from typing import NamedTuple

_IDENTIFIER = re.compile(rb"^X-Id: (\S+)\r?$", re.M)
_LINE_WORDS = 7


class Seen(NamedTuple):
    """A message found somewhere; `whole`: its body has the checksum that its last line names."""

    identifier: str
    whole: bool


def make(identifier: str, size: int, rng: random.Random) -> str:
    """A message with a body of about `size` characters, in lines that end in LF."""
    lines: list[str] = []
    length = 0
    while length < size:
        lines.append(f"{identifier} {len(lines)} " + f"{rng.getrandbits(32):08x}" * _LINE_WORDS)
        length += len(lines[-1]) + 1
    body = "".join(f"{line}\n" for line in lines)
    head = f"From: load@example.net\nTo: box@example.org\nSubject: {identifier}\nX-Id: {identifier}\n\n"
    return f"{head}{body}END {identifier} {zlib.crc32(body.encode()):08x}\n"


def look_at(data: bytes) -> Seen | None:
    """The first test message in `data`, whose lines end in LF; None if there is none."""
    found = _IDENTIFIER.search(data)
    if found is None:
        return None
    identifier = found[1]
    start = data.find(b"\n\n", found.end())
    mark = b"END " + identifier + b" "
    end = data.find(b"\n" + mark, start + 1)
    if start < 0 or end < 0:
        return Seen(identifier.decode(), False)
    stated = data[end + 1 + len(mark) :][:8]
    return Seen(identifier.decode(), stated == b"%08x" % zlib.crc32(data[start + 2 : end + 1]))
