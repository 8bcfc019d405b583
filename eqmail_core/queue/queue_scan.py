"""Walking through the folders of a queue, one entry at a time, so that nobody waits for a large queue.

Source: queue.md 3.7 (readsubdir.c).
"""

import os
from collections.abc import Iterator

NOTHING = -1
"""An entry that is no message; there may be more."""


class QueueScan:
    """One walk through `folders`; entries that are no message numbers are passed over.

    Fails: OSError from `step` when a folder cannot be opened or read; the next step tries the same folder again.
    """

    __slots__ = ("_entries", "_folders")

    def __init__(self, folders: list[str]) -> None:
        self._folders = folders[::-1]
        self._entries: Iterator[os.DirEntry[str]] | None = None

    @property
    def folder(self) -> str:
        """The folder that the next step looks into."""
        return self._folders[-1]

    def step(self) -> int | None:
        """The next message number, NOTHING, or None at the end."""
        if not self._folders:
            return None
        if self._entries is None:
            self._entries = os.scandir(self.folder)
        try:
            entry = next(self._entries, None)
        except OSError:
            self._entries = None
            raise
        if entry is None:
            self._entries = None
            self._folders.pop()
            return NOTHING
        name = entry.name
        return int(name) if name.isascii() and name.isdigit() else NOTHING


def count(folders: list[str]) -> int:
    """How many messages have a file in these folders.  Fails: OSError."""
    return sum(1 for _ in numbers_in(folders))


def numbers_in(folders: list[str]) -> Iterator[int]:
    """All message numbers in these folders.  Fails: OSError."""
    scan = QueueScan(folders)
    while (number := scan.step()) is not None:
        if number != NOTHING:
            yield number
