"""Message numbers in stock: empty files in pid/ whose inode numbers they are.

A number is given out, and returns when its message has ended without ever becoming mess/N; then the file is reused.
While the file exists no other file can get the number.

In a queue that was copied or restored, messages have numbers that are not the inode numbers of their files. So a new
file may have the number of a message. Such a file is left in place, and its number is not given out.

Fails: OSError when no file can be created.
"""

import os
from collections import deque

from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.spool import POOL_PREFIX, remove
from eqmail_core.site.layout import QueuePaths

MAX_FREE = 512
"""Numbers kept in stock, at most; after a burst the files of further ones are removed."""


class NumberPool:
    """The stock in pid/ of a queue; call `find` first."""

    def __init__(self, disk: FileSystem, paths: QueuePaths) -> None:
        self._disk = disk
        self._paths = paths
        self._folder = paths.pid
        self._path_of: dict[int, str] = {}
        self._free: deque[int] = deque()
        self._blocked: list[str] = []
        self._count = 0

    @property
    def free(self) -> int:
        """Count the numbers in stock."""
        return len(self._free)

    def find(self) -> None:
        """Load the files that an earlier process left; then `reserve` those in use."""
        for name, number in self._disk.entries(self._folder):
            if name.startswith(POOL_PREFIX):
                self._path_of[number] = f"{self._folder}/{name}"
                self._free.append(number)
                last = name[len(POOL_PREFIX) :]
                self._count = max(self._count, int(last)) if last.isdigit() else self._count

    @property
    def numbers(self) -> list[int]:
        """Return every number that has a file."""
        return list(self._path_of)

    def block(self) -> None:
        """Exclude the files whose numbers other messages have: they are not given out and have no path."""
        for number in [number for number in self._path_of if self._is_taken(number)]:
            self._blocked.append(self._path_of.pop(number))

    @property
    def files(self) -> list[str]:
        """Return every file that was found."""
        return [*self._path_of.values(), *self._blocked]

    def reserve(self, numbers: set[int]) -> None:
        """Mark these numbers as in use."""
        self._free = deque(number for number in self._free if number in self._path_of and number not in numbers)

    def path(self, number: int) -> str | None:
        """Return the file of a number; None if it has none (any more)."""
        return self._path_of.get(number)

    def take(self) -> int:
        """Return a number; from an empty stock, a new one whose file name is not on the disk yet."""
        if self._free:
            return self._free.popleft()
        number, path = self._make()
        self._path_of[number] = path
        return number

    def recycle(self, number: int) -> None:
        """Return to the stock the number of an ended message that was never linked elsewhere."""
        if number not in self._path_of:
            return
        if len(self._free) < MAX_FREE:
            self._free.append(number)
        else:
            remove(self._disk, self._path_of.pop(number))

    def discard(self, number: int) -> None:
        """Drop a number whose file has become mess/N."""
        self._path_of.pop(number, None)

    def make(self, count: int) -> list[tuple[int, str]]:
        """Create more files, on the disk; `add` puts them into the stock.

        Runs in any thread, one at a time.
        """
        made = [self._make() for _ in range(count)]
        self._disk.sync_folder(self._folder)
        return made

    def add(self, made: list[tuple[int, str]]) -> None:
        """Add new files to the stock."""
        self._path_of.update(made)
        self._free.extend(number for number, _ in made)

    def remove_all(self) -> None:
        """Remove the files in stock."""
        for number in self._free:
            remove(self._disk, self._path_of.pop(number))
        self._free.clear()
        for path in self._blocked:
            remove(self._disk, path)
        self._blocked.clear()

    def _make(self) -> tuple[int, str]:
        while True:
            self._count += 1
            path = f"{self._folder}/{POOL_PREFIX}{self._count}"
            try:
                fd = self._disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                continue
            try:
                number = self._disk.inode(fd)
            finally:
                self._disk.close(fd)
            if not self._is_taken(number):
                return number, path
            self._blocked.append(path)

    def _is_taken(self, number: int) -> bool:
        """Return whether there is a message with this number."""
        paths = self._paths
        return any(self._disk.status(path(number)) is not None for path in (paths.mess, paths.intd, paths.todo))
