"""Secrets in settings: which files may hold them, by their declarations, and how they are shown without.

Fails: never.
"""

import os
from collections.abc import Sequence

from eqmail_core.control.controls import Controls
from eqmail_core.control.kinds import Opaque
from eqmail_core.control.list_kinds import Map

HIDDEN = "..."


def secret_files() -> set[str]:
    """Names of the control files that may hold secrets."""
    return {control.file for control in Controls.declared().values() if control.is_secret}


def is_secret_file(path: str) -> bool:
    """Whether a path is that of a control file that may hold secrets."""
    return os.path.basename(path) in secret_files()


def has_secret(name: str, content: bytes) -> bool:
    """Whether this content of a control file holds a secret."""
    return name in secret_files() and redact_file(name, content) != content


def redact_file(path: str, content: bytes) -> bytes:
    """The content of a control file without its secrets: what comes after the first word of a line."""
    name = os.path.basename(path)
    control = next((item for item in Controls.declared().values() if item.file == name and item.is_secret), None)
    if control is None:
        return content
    if isinstance(control, Opaque):
        return f"({len(content)} bytes)\n".encode()
    return b"".join(_redact_line(line, isinstance(control, Map)) for line in content.splitlines(keepends=True))


def redact_words(name: str, words: Sequence[str]) -> list[str]:
    """Lines of a control file, as words of a command line, without secrets."""
    return [os.fsdecode(redact_file(name, os.fsencode(word))) for word in words]


def _redact_line(line: bytes, is_map: bool) -> bytes:
    if line.startswith(b"#") or not line.strip():
        return line
    end = line[len(line.rstrip(b"\r\n")) :]
    if not is_map:
        return HIDDEN.encode() + end
    kept, blank, rest = line.rstrip(b"\r\n").partition(b" ")
    return kept + (b" " + HIDDEN.encode() if blank and rest.strip() else b"") + end
