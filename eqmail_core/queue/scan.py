"""One part of a queue: the folders of all messages whose number is the same modulo the split.

A queue may be large: what is in a part is listed once, and its files are opened by their names below
open folders, which is much less work than asking for every file, by its path, whether it is there.

Fails: OSError where a folder cannot be opened or read.
Source: queue.md 3.2.
"""

import os

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
