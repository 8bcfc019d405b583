"""One part of a queue: the folders of all messages whose number is the same modulo the split.

A queue may be large: what is in a part is listed once, and its files are opened by their names below
open folders, which is much less work than asking for every file, by its path, whether it is there.

Fails: OSError where a folder cannot be opened or read.
Source: queue.md 3.2.
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
    """Open folders, and the numbers that were in them: `new` in todo, `old` in info, `listed` by channel.

    todo/ is looked at first: what is in `old` alone is preprocessed, and what moves between them is in both.
    `unfinished` are paths of files in info that were never given the name of a message.
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
        """Nothing more will be read."""
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()

    def messages(self) -> set[int]:
        """The numbers in mess.  Fails: OSError."""
        return _numbers(os.listdir(self.mess))

    def due(self, number: int) -> list[tuple[int, int]]:
        """The channels on which a message has recipients left, each with the time at which it is due.

        Fails: OSError where that cannot be told, or a list has gone since.
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
    """Every part of a queue, open until the next one is asked for."""
    for index in range(queue.split):
        part = QueuePartition(queue, index)
        try:
            yield part
        finally:
            part.close()


def _numbers(names: list[str]) -> set[int]:
    return {int(name) for name in names if name.isascii() and name.isdigit()}


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
