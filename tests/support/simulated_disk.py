"""A disk in memory that can lose power: what was flushed stays, of all else any part, in any order.

`after_power_cut` makes the disk that the next boot finds.  Unflushed data survives sector by sector; unflushed names
one by one (`ordered` False: the weakest that POSIX allows) or up to some moment (`ordered` True: as file systems with a
journal of their own do it, where flushing anything flushes all earlier names).  Inode numbers come back at once when
nothing that could survive has them, the lowest first.

A flush may fail (`fails_flush`).  As Linux does it, the pages that were to be written then count as clean: reading
gives what was written, a later flush succeeds and does not write them, and after a power cut any part of them is
there.  A page is written whole once anything in it is written again.
"""

import errno
import os
from collections.abc import Callable, Iterable

from eqmail_core.queue.filesystem import FileSystem

SECTOR = 512
PAGE = 8 * SECTOR
FIRST_INODE = 1000

Write = tuple[int, bytes] | None  # offset and data; None: the file was emptied


class SimDisk(FileSystem):
    def __init__(self, folders: list[str], ordered: bool = False) -> None:
        self.ordered = ordered
        self.is_full = False
        self.fails_flush: Callable[[], bool] = lambda: False
        self.operations = 0
        self.on_operation: Callable[[], None] = lambda: None
        self.folders = set(folders)
        # A file is known by a key of its own, because its inode number may have belonged to another.
        self._inode: dict[int, int] = {}
        self._data: dict[int, bytearray] = {}
        self._names: dict[str, int] = {}
        self._platter: dict[int, bytes] = {}
        self._unflushed: dict[int, list[Write]] = {}
        self._dropped: dict[int, dict[int, bytes]] = {}  # sectors of failed flushes, by file and offset
        self._platter_names: dict[str, int] = {}
        self._unflushed_names: list[tuple[str, int | None]] = []
        self._fds: dict[int, tuple[int, bool]] = {}
        self._next_fd = 3
        self._next_key = 1

    def copy(self) -> "SimDisk":
        """The same disk as another process finds it that is started now; nothing is open."""
        other = SimDisk([], self.ordered)
        other.folders = self.folders
        other._inode = dict(self._inode)
        other._data = {key: bytearray(data) for key, data in self._data.items()}
        other._names, other._platter = dict(self._names), dict(self._platter)
        other._unflushed = {key: list(writes) for key, writes in self._unflushed.items()}
        other._dropped = {key: dict(sectors) for key, sectors in self._dropped.items()}
        other._platter_names, other._unflushed_names = dict(self._platter_names), list(self._unflushed_names)
        other._next_key = self._next_key
        return other

    # The next boot.

    def after_power_cut(self, survives: Callable[[int], int]) -> "SimDisk":
        """The disk after a cut now; `survives(n)` chooses a number from 0 to n."""
        after = type(self)([], self.ordered)
        after.folders = self.folders
        names = dict(self._platter_names)
        if self.ordered:
            kept = self._unflushed_names[: survives(len(self._unflushed_names))]
        else:
            kept = [change for change in self._unflushed_names if survives(1)]
        _apply_names(names, kept)
        for key in set(names.values()):
            data = bytearray(self._platter.get(key, b""))
            for offset, sector in self._dropped.get(key, {}).items():
                _apply_write(data, (offset, sector), survives)
            for write in self._unflushed.get(key, ()):
                _apply_write(data, write, survives)
            after._inode[key] = self._inode[key]
            after._data[key] = data
            after._platter[key] = bytes(data)
        after._names, after._platter_names, after._next_key = names, dict(names), self._next_key
        return after

    def _did(self) -> None:
        self.operations += 1
        self.on_operation()

    # The port.

    def open(self, path: str, flags: int, mode: int = 0o644) -> int:
        self._check_folder(path)
        key = self._names.get(path)
        if key is None:
            if not flags & os.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, "no such file", path)
            self._need_room()
            key = self._next_key
            self._next_key += 1
            self._inode[key] = self._free_inode()
            self._data[key] = bytearray()
            self._change_name(path, key)
        elif flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, "exists", path)
        elif flags & os.O_TRUNC:
            self._empty(key)
        self._next_fd += 1
        self._fds[self._next_fd] = key, bool(flags & (os.O_WRONLY | os.O_RDWR))
        return self._next_fd

    def close(self, fd: int) -> None:
        del self._fds[fd]

    def inode(self, fd: int) -> int:
        return self._inode[self._fds[fd][0]]

    def read_at(self, fd: int, size: int, offset: int) -> bytes:
        return bytes(self._data[self._fds[fd][0]][offset : offset + size])

    def write(self, fd: int, data: bytes | bytearray | memoryview) -> None:
        self.write_at(fd, [data], len(self._data[self._fds[fd][0]]))

    def write_at(self, fd: int, pieces: list[bytes | bytearray | memoryview], offset: int) -> None:
        key, may_write = self._fds[fd]
        assert may_write
        data = b"".join(pieces)
        old = self._data[key]
        if offset + len(data) > len(old):
            self._need_room()
            old.extend(bytes(offset + len(data) - len(old)))
        old[offset : offset + len(data)] = data
        self._unflushed.setdefault(key, []).append((offset, data))
        self._did()

    def rewrite(self, fd: int, data: bytes | bytearray | memoryview) -> None:
        self.write_at(fd, [data], 0)

    def make_empty(self, path: str) -> None:
        self._empty(self._find(path))

    def sync(self, fd: int) -> None:
        key = self._fds[fd][0]
        if self.fails_flush():
            self._drop(key)
            raise OSError(errno.EIO, "input/output error")
        dropped = self._dropped.get(key, {})
        for page in _parts(self._unflushed.get(key, ()), PAGE):
            for offset in range(page, page + PAGE, SECTOR):
                dropped.pop(offset, None)
        platter = bytearray(self._data[key])
        for offset, sector in dropped.items():
            before = self._platter.get(key, b"")[offset : offset + len(sector)]
            platter[offset : offset + len(sector)] = before.ljust(len(sector), b"\0")
        self._platter[key] = bytes(platter)
        self._unflushed.pop(key, None)
        if self.ordered:
            self._flush_names(lambda path: True)
        self._did()

    sync_data = sync

    def sync_folder(self, path: str) -> None:
        if self.fails_flush():
            raise OSError(errno.EIO, "input/output error")
        self._flush_names(lambda path_name: self.ordered or path_name.rpartition("/")[0] == path)
        self._did()

    def sync_files(self, fds: list[int]) -> None:
        for fd in fds:
            self.sync(fd)

    def sync_folders(self, paths: list[str]) -> None:
        for path in paths:
            self.sync_folder(path)

    def link(self, old: str, new: str) -> None:
        key = self._find(old)
        self._check_folder(new)
        if new in self._names:
            raise FileExistsError(errno.EEXIST, "exists", new)
        self._change_name(new, key)

    def unlink(self, path: str) -> None:
        self._find(path)
        self._change_name(path, None)

    def entries(self, path: str) -> list[tuple[str, int]]:
        return [
            (it[len(path) + 1 :], self._inode[key]) for it, key in self._names.items() if it.rpartition("/")[0] == path
        ]

    def accessed(self, path: str) -> float:
        self._find(path)
        return 0.0

    def status(self, path: str) -> tuple[int, int] | None:
        key = self._names.get(path)
        return None if key is None else (self._inode[key], len(self._data[key]))

    def content(self, path: str) -> bytes | None:
        key = self._names.get(path)
        return None if key is None else bytes(self._data[key])

    def pull_trigger(self, path: str) -> None:
        pass

    def exists(self, path: str) -> bool:
        return path in self._names

    def paths(self) -> list[str]:
        return sorted(self._names)

    # How it works.

    def _find(self, path: str) -> int:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return self._names[path]

    def _check_folder(self, path: str) -> None:
        if path.rpartition("/")[0] not in self.folders:
            raise FileNotFoundError(errno.ENOENT, "no such folder", path)

    def _need_room(self) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "disk full")

    def _free_inode(self) -> int:
        keys = set(self._names.values()) | {key for key, _ in self._fds.values()}
        if not self.ordered:
            keys |= set(self._platter_names.values()) | {key for _, key in self._unflushed_names if key is not None}
        used = {self._inode[key] for key in keys}
        return next(n for n in range(FIRST_INODE, FIRST_INODE + len(used) + 1) if n not in used)

    def _empty(self, key: int) -> None:
        self._data[key] = bytearray()
        self._unflushed.setdefault(key, []).append(None)
        self._did()

    def _drop(self, key: int) -> None:
        """The kernel's answer to a failed write: the dirty pages are clean now."""
        data, writes = self._data[key], self._unflushed.get(key, ())
        sectors = self._dropped.setdefault(key, {})
        for offset in _parts(writes, SECTOR):
            if offset < len(data):
                sectors[offset] = bytes(data[offset : offset + SECTOR])
        self._unflushed[key] = [write for write in writes if write is None]

    def _change_name(self, path: str, key: int | None) -> None:
        if key is None:
            del self._names[path]
        else:
            self._names[path] = key
        self._unflushed_names.append((path, key))
        self._did()

    def _flush_names(self, which: Callable[[str], bool]) -> None:
        flushed = [change for change in self._unflushed_names if which(change[0])]
        self._unflushed_names = [change for change in self._unflushed_names if not which(change[0])]
        _apply_names(self._platter_names, flushed)


def _apply_names(names: dict[str, int], changes: list[tuple[str, int | None]]) -> None:
    for path, key in changes:
        if key is None:
            names.pop(path, None)
        else:
            names[path] = key


def _parts(writes: Iterable[Write], size: int) -> set[int]:
    """Where the parts of this size begin that these writes touch."""
    parts: set[int] = set()
    for write in writes:
        if write is not None and write[1]:
            parts.update(range(write[0] // size * size, write[0] + len(write[1]), size))
    return parts


def _apply_write(data: bytearray, write: Write, survives: Callable[[int], int]) -> None:
    if write is None:
        if survives(1):
            data.clear()
        return
    offset, new = write
    position = offset
    while position < offset + len(new):
        end = min((position // SECTOR + 1) * SECTOR, offset + len(new))
        if survives(1):
            if len(data) < end:
                data.extend(bytes(end - len(data)))
            data[position:end] = new[position - offset : end - offset]
        position = end
