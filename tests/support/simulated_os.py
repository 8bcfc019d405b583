"""The simulated disk below the `os` module: so that code which calls it runs as it is, and can lose power.

`TimedDisk` keeps what the scheduler reads of files beyond their content: times, mode, size.  What was changed of it and
not flushed is lost with the power, or not.  `SimOs` stands in for `os` in the modules of `MODULES`.
"""

import errno
import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from eqmail_core.queue import files as queue_files
from eqmail_core.queue import message_match, scan
from eqmail_core.queue import preprocess as preparation
from eqmail_core.queue import scan as queue_part
from eqmail_core.queue.admin import actions as queue_change
from eqmail_core.scheduler import ports, queue_damage
from eqmail_core.scheduler.memory import message as memory_message
from eqmail_core.scheduler.memory import queue as memory
from eqmail_core.system import files
from tests.support.simulated_disk import SimDisk

MODULES = (
    files,
    queue_files,
    memory,
    memory_message,
    message_match,
    ports,
    preparation,
    queue_change,
    queue_damage,
    queue_part,
    scan,
)

START_NS = 1_700_000_000_000_000_000
TICK_NS = 1000


class Meta:
    """Attributes of stat beyond inode number and size, times in nanoseconds."""

    def __init__(self, now_ns: int, mode: int) -> None:
        self.st_mode = mode
        self.st_atime_ns = self.st_mtime_ns = self.st_ctime_ns = now_ns

    def copy(self) -> "Meta":
        other = Meta(0, 0)
        other.__dict__.update(self.__dict__)
        return other


class TimedDisk(SimDisk):
    def __init__(self, folders: list[str], ordered: bool = False) -> None:
        super().__init__(folders, ordered)
        self.now_ns = START_NS
        self._mode = self._keeps_time = 0
        self._meta: dict[int, Meta] = {}
        self._platter_meta: dict[int, Meta] = {}
        self._positions: dict[int, int] = {}
        self._folder_fds: dict[int, str] = {}

    def after_power_cut(self, survives: Callable[[int], int]) -> "TimedDisk":
        after = super().after_power_cut(survives)
        assert isinstance(after, TimedDisk)
        after.now_ns = self.now_ns
        for key in after._data:
            flushed = self._platter_meta.get(key)
            meta = (self._meta[key] if flushed is None or survives(1) else flushed).copy()
            after._meta[key], after._platter_meta[key] = meta, meta.copy()
        return after

    def _did(self) -> None:
        self.now_ns += TICK_NS
        super()._did()

    def open(self, path: str, flags: int, mode: int = 0o644) -> int:
        self._mode = mode
        fd = super().open(path, flags, mode)
        self._positions[fd] = 0
        return fd

    def _change_name(self, path: str, key: int | None) -> None:
        if key is not None and key not in self._meta:
            self._meta[key] = Meta(self.now_ns, 0o100000 | self._mode)
        super()._change_name(path, key)

    def write_at(self, fd: int, pieces: list[Any], offset: int) -> None:
        meta = self._meta[self._fds[fd][0]]
        meta.st_ctime_ns = self.now_ns
        meta.st_mtime_ns = self._keeps_time or self.now_ns
        super().write_at(fd, pieces, offset)

    def rewrite(self, fd: int, data: bytes | bytearray | memoryview) -> None:
        meta = self._meta[self._fds[fd][0]]
        self._keeps_time = meta.st_mtime_ns
        super().rewrite(fd, data)
        self._keeps_time = 0

    def sync(self, fd: int) -> None:
        super().sync(fd)
        key = self._fds[fd][0]
        self._platter_meta[key] = self._meta[key].copy()

    sync_data = sync

    def accessed(self, path: str) -> float:
        return self._meta[self._find(path)].st_atime_ns / 1e9

    # What only the scheduler does.

    def memory(self, data: bytes) -> int:
        """A descriptor of a file without a name."""
        key, fd = self._next_key, self._next_fd + 1
        self._next_key, self._next_fd = key + 1, fd
        self._inode[key], self._data[key], self._meta[key] = 0, bytearray(data), Meta(self.now_ns, 0o100644)
        self._fds[fd], self._positions[fd] = (key, False), 0
        return fd

    def open_folder(self, path: str) -> int:
        if path not in self.folders:
            raise FileNotFoundError(errno.ENOENT, "no such folder", path)
        self._next_fd += 1
        self._folder_fds[self._next_fd] = path
        return self._next_fd

    def rename(self, old: str, new: str) -> None:
        key = self._find(old)
        self._check_folder(new)
        self._meta[key].st_ctime_ns = self.now_ns
        del self._names[old]
        self._names[new] = key
        self._unflushed_names += [(new, key), (old, None)]
        self._did()

    def stat_of(self, key: int) -> SimpleNamespace:
        meta = self._meta[key]
        seconds = {name.removesuffix("_ns"): getattr(meta, name) / 1e9 for name in meta.__dict__ if name != "st_mode"}
        return SimpleNamespace(
            st_ino=self._inode[key], st_size=len(self._data[key]), **{**seconds, **meta.__dict__, "st_nlink": 1}
        )

    def change(self, key: int) -> Meta:
        """What is known of a file, to be changed."""
        meta = self._meta[key]
        meta.st_ctime_ns = self.now_ns
        return meta


class SimOs:
    """The functions of `os` on `disk`; everything else is that of `os`."""

    def __init__(self, disk: TimedDisk) -> None:
        self.disk = disk
        self.path = SimpleNamespace(dirname=os.path.dirname, basename=os.path.basename, exists=self._exists)

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        path = self._below(path, dir_fd)
        if flags & os.O_DIRECTORY:
            return self.disk.open_folder(path)
        return self.disk.open(path, flags, mode)

    def close(self, fd: int) -> None:
        if self.disk._folder_fds.pop(fd, None) is None:
            self.disk.close(fd)

    def read(self, fd: int, size: int) -> bytes:
        data = self.disk.read_at(fd, size, self.disk._positions[fd])
        self.disk._positions[fd] += len(data)
        return data

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        return self.disk.read_at(fd, size, offset)

    def write(self, fd: int, data: Any) -> int:
        self.disk.write(fd, bytes(data))
        return len(data)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        self.disk.write_at(fd, [data], offset)
        return len(data)

    def fsync(self, fd: int) -> None:
        folder = self.disk._folder_fds.get(fd)
        if folder is None:
            self.disk.sync(fd)
        else:
            self.disk.sync_folder(folder)

    def stat(self, path: str, *, dir_fd: int | None = None) -> SimpleNamespace:
        return self.disk.stat_of(self.disk._find(self._below(path, dir_fd)))

    lstat = stat

    def fstat(self, fd: int) -> SimpleNamespace:
        return self.disk.stat_of(self.disk._fds[fd][0])

    def utime(
        self,
        path: str | int,
        times: tuple[int, int] | None = None,
        *,
        ns: tuple[int, int] | None = None,
        follow_symlinks: bool = True,
    ) -> None:
        atime, mtime = ns or [it * 1_000_000_000 for it in times or ()]
        meta = self.disk.change(self.disk._fds[path][0] if isinstance(path, int) else self.disk._find(path))
        meta.st_atime_ns, meta.st_mtime_ns = atime, mtime
        self.disk._did()

    def chmod(self, path: str, mode: int) -> None:
        self.disk.change(self.disk._find(path)).st_mode = 0o100000 | mode
        self.disk._did()

    def unlink(self, path: str) -> None:
        self.disk.unlink(path)

    def rename(self, old: str, new: str) -> None:
        self.disk.rename(old, new)

    def listdir(self, folder: str | int) -> list[str]:
        path = self.disk._folder_fds[folder] if isinstance(folder, int) else folder
        return [name for name, _ in self.disk.entries(path)]

    def scandir(self, folder: str) -> Iterator[SimpleNamespace]:
        if folder not in self.disk.folders:
            raise FileNotFoundError(errno.ENOENT, "no such folder", folder)
        return iter([SimpleNamespace(name=name) for name in self.listdir(folder)])

    def _below(self, path: str, dir_fd: int | None) -> str:
        return path if dir_fd is None else f"{self.disk._folder_fds[dir_fd]}/{path}"

    def _exists(self, path: str) -> bool:
        return self.disk.exists(path)


def install(patch: pytest.MonkeyPatch, disk: TimedDisk) -> SimOs:
    """Have the scheduler's modules work on `disk`, and on whatever disk the result is given later."""
    sim = SimOs(disk)
    for module in MODULES:
        patch.setattr(module, "os", sim)
    return sim
