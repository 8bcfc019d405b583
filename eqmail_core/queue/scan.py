"""One part of a queue: the folders of all messages whose number is the same modulo the split.

A queue may be large. So each part is listed once, and its files are opened by name relative to open folders. That is
much less work than testing the path of every possible file. `QueueScan` reads folders one entry at a time, so that a
large queue blocks nothing.

Fails: OSError where a folder cannot be opened or read.
Source: queue.md 3.2, 3.7 (readsubdir.c).
"""

import os
from collections.abc import Iterator

from eqmail_core.queue.format.channels import CHANNELS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from eqmail_core.site.layout import QueuePaths


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class QueuePartition:
    """Open folders and the numbers found in them: `new` in todo, `old` in info, `listed` by channel.

    todo/ is listed first: a number in `old` only is preprocessed, and one that moves meanwhile is in both.
    `unfinished` are paths of temporary files in info that were never renamed to a number.
    """

    def __init__(self, queue: "QueuePaths", index: int) -> None:
        self.index = index
        self._fds: list[int] = []
        todo = queue.todo_dirs()
        try:
            self.new = _numbers(os.listdir(todo[index] if len(todo) > 1 else todo[0]))
            info = queue.info_dirs()[index]
            self.info = self._open(info)
            names = os.listdir(self.info)
            self.old = _numbers(names)
            self.unfinished = [f"{info}/{name}" for name in names if name.endswith(".tmp")]
            self.lists = [self._open(queue.channel_dirs(name)[index]) for name in CHANNELS]
            self.listed = [_numbers(os.listdir(fd)) for fd in self.lists]
            self.mess = self._open(queue.mess_dirs()[index])
        except OSError:
            self.close()
            raise
        if len(todo) == 1:
            self.new = {number for number in self.new if number % queue.split == index}

    def close(self) -> None:
        """Close the folders; nothing can be read afterwards."""
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()

    def messages(self) -> set[int]:
        """Return the numbers in mess.  Fails: OSError."""
        return _numbers(os.listdir(self.mess))

    def due(self, number: int) -> list[tuple[int, int]]:
        """Return the channels on which a message has recipients left, each with its due time.

        Fails: OSError if that is unknown, or a list has been removed meanwhile.
        """
        return [
            (channel, int(os.stat(str(number), dir_fd=folder).st_mtime))
            for channel, folder in enumerate(self.lists)
            if number in self.listed[channel]
        ]

    def _open(self, path: str) -> int:
        fd = os.open(path, _FOLDER)
        self._fds.append(fd)
        return fd


def parts(queue: "QueuePaths") -> "Iterator[QueuePartition]":
    """Yield every part of a queue; each is closed when the next one is requested."""
    for index in range(queue.split):
        part = QueuePartition(queue, index)
        try:
            yield part
        finally:
            part.close()


def _numbers(names: list[str]) -> set[int]:
    return {int(name) for name in names if name.isascii() and name.isdigit()}


NOTHING = -1
"""An entry that is no message number; there may be more entries."""


class QueueScan:
    """One pass through `folders`; entries that are no message numbers are skipped.

    Fails: OSError from `step` when a folder cannot be opened or read; the next step tries the same folder again.
    """

    __slots__ = ("_entries", "_folders")

    def __init__(self, folders: list[str]) -> None:
        self._folders = folders[::-1]
        self._entries: Iterator[os.DirEntry[str]] | None = None

    @property
    def folder(self) -> str:
        """The folder that the next step reads."""
        return self._folders[-1]

    def step(self) -> int | None:
        """Return the next message number, NOTHING, or None at the end."""
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
    """Count the messages that have a file in these folders.  Fails: OSError."""
    return sum(1 for _ in numbers_in(folders))


def numbers_in(folders: list[str]) -> Iterator[int]:
    """Yield all message numbers in these folders.  Fails: OSError."""
    scan = QueueScan(folders)
    while (number := scan.step()) is not None:
        if number != NOTHING:
            yield number
