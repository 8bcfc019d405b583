"""The checksum line of a generated file: shows whether setup wrote the file and whether it was edited.

The seal is a comment on a line of its own that carries a digest of everything else in the file.
"""

import hashlib
from enum import Enum

_CHECKSUM_MARK = b"# Written by eqmail setup, which replaces this file unless you edit it. Seal: "
PLACE = b"# @SEAL@\n"
"""The placeholder of the checksum in a template."""


class Origin(Enum):
    """Where the content of a file comes from."""

    MANAGED = "ours"
    EDITED = "edited"
    BINARY = "binary"
    FOREIGN = "foreign"


def with_checksum(text: bytes) -> bytes:
    """Put the seal into a rendered template."""
    before, after = text.split(PLACE, 1)
    return before + _CHECKSUM_MARK + _digest(before + after) + b"\n" + after


def origin_of(content: bytes) -> Origin:
    """Classify a file: written by setup, edited since, a compiled program, or foreign."""
    before, mark, rest = content.partition(_CHECKSUM_MARK)
    if mark:
        digest, _, after = rest.partition(b"\n")
        return Origin.MANAGED if digest == _digest(before + after) else Origin.EDITED
    return Origin.BINARY if content.startswith(b"\x7fELF") else Origin.FOREIGN


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest()[:24].encode()
