"""The file system as the queue uses it: few verbs, so that tests can stand in a disk that loses power at any of them.

What is promised after a power cut: the content of a file after `sync` or `sync_data`, the names in a folder after
`sync_folder`, and nothing else, in no order.

Fails: OSError, as the system says it.
"""

import os

from eqmail_core.system.files import read_file, sync_folder, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    Piece = bytes | bytearray | memoryview

_MAX_PIECES = 1024

# Up to so many files or folders are flushed one by one; more, all at once with their file system.
_FEW = 3


class FileSystem:
    """The real one."""

    def open(self, path: str, flags: int, mode: int = 0o644) -> int:
        """Open or create a file; flags as in os.open."""
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def close(self, fd: int) -> None:
        """Close a file; that says nothing about the platter."""
        os.close(fd)

    def inode(self, fd: int) -> int:
        """The inode number of an open file."""
        return os.fstat(fd).st_ino

    def read_at(self, fd: int, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`; b"" is the end."""
        return os.pread(fd, size, offset)

    def write(self, fd: int, data: "Piece") -> None:
        """Append everything."""
        write_all(fd, data)  # type: ignore[arg-type]  # any buffer will do

    def write_at(self, fd: int, pieces: "list[Piece]", offset: int) -> None:
        """Write all pieces one behind the other from `offset`."""
        for start in range(0, len(pieces), _MAX_PIECES):
            some = pieces[start : start + _MAX_PIECES]
            written = os.pwritev(fd, some, offset)
            total = sum(map(len, some))
            offset += written
            if written < total:
                rest = memoryview(b"".join(some))[written:]
                while rest:
                    written = os.pwrite(fd, rest, offset)
                    rest, offset = rest[written:], offset + written

    def rewrite(self, fd: int, data: "Piece") -> None:
        """Write once more what the file holds; its time stays, for info/N must not look older than its mess/N."""
        found = os.fstat(fd)
        self.write_at(fd, [data], 0)
        os.utime(fd, ns=(found.st_atime_ns, found.st_mtime_ns))

    def make_empty(self, path: str) -> None:
        """Take away the content of a file."""
        os.truncate(path, 0)

    def sync(self, fd: int) -> None:
        """Return when the file is on the disk: data, size and all."""
        os.fsync(fd)

    def sync_data(self, fd: int) -> None:
        """Return when the data of a file whose size did not change is on the disk."""
        os.fdatasync(fd)

    def sync_folder(self, path: str) -> None:
        """Return when the names in a folder are on the disk."""
        sync_folder(path)

    def sync_files(self, fds: list[int]) -> None:
        """Return when all these files are on the disk."""
        if len(fds) > _FEW:
            _sync_file_system(fds[0])
        else:
            for fd in fds:
                os.fsync(fd)

    def sync_folders(self, paths: list[str]) -> None:
        """Return when the names in all these folders are on the disk."""
        if len(paths) > _FEW:
            fd = os.open(paths[0], os.O_RDONLY | os.O_CLOEXEC)
            try:
                _sync_file_system(fd)
            finally:
                os.close(fd)
        else:
            for path in paths:
                sync_folder(path)

    def link(self, old: str, new: str) -> None:
        """Give a file a second name."""
        os.link(old, new)

    def unlink(self, path: str) -> None:
        """Take a name away."""
        os.unlink(path)

    def make_folder(self, path: str, mode: int) -> None:
        """Make a folder."""
        os.mkdir(path, mode)

    def entries(self, path: str) -> list[tuple[str, int]]:
        """Name and inode number of everything in a folder."""
        with os.scandir(path) as found:
            return [(entry.name, entry.inode()) for entry in found]

    def accessed(self, path: str) -> float:
        """When a file was last read, in seconds since the epoch."""
        return os.stat(path, follow_symlinks=False).st_atime

    def status(self, path: str) -> tuple[int, int] | None:
        """Inode number and size of a file, None where there is none."""
        try:
            found = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_size

    def content(self, path: str) -> bytes | None:
        """The whole of a file, None where there is none."""
        return read_file(path)

    def pull_trigger(self, path: str) -> None:
        """Wake whoever reads this FIFO; trouble is ignored, for todo/ is looked through from time to time anyway."""
        try:
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        try:
            os.write(fd, b"\0")
        except OSError:
            pass
        finally:
            os.close(fd)


def _sync_file_system(fd: int) -> None:
    # Here, because a program that queues one message never needs it.
    from eqmail_core.system.kernel import sync_file_system

    sync_file_system(fd)
