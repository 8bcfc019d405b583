"""The file operations of the queue.

They are few, so that tests can simulate a disk that loses power at any of them.

Guaranteed after a power cut: the content of a file after `sync` or `sync_data`, the names in a folder after
`sync_folder`. Nothing else is, and no order.

Fails: OSError, as the system reports it.
"""

import os

from eqmail_core.system.files import read_file, sync_folder, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    Piece = bytes | bytearray | memoryview

_MAX_PIECES = 1024

# Up to this many files or folders are flushed one by one; more, all at once with their file system.
_FEW = 3


class FileSystem:
    """The real file system."""

    def open(self, path: str, flags: int, mode: int = 0o644) -> int:
        """Open or create a file; flags as in os.open."""
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def close(self, fd: int) -> None:
        """Close a file; this does not flush it."""
        os.close(fd)

    def inode(self, fd: int) -> int:
        """The inode number of an open file."""
        return os.fstat(fd).st_ino

    def read_at(self, fd: int, size: int, offset: int) -> bytes:
        """Read up to `size` bytes at `offset`; b"" is the end."""
        return os.pread(fd, size, offset)

    def write(self, fd: int, data: "Piece") -> None:
        """Append all of `data`."""
        write_all(fd, data)  # type: ignore[arg-type]  # any buffer will do

    def write_at(self, fd: int, pieces: "list[Piece]", offset: int) -> None:
        """Write all pieces one after the other from `offset`."""
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
        """Write the content of a file again; its time stays.

        Otherwise info/N could look older than its mess/N.
        """
        found = os.fstat(fd)
        self.write_at(fd, [data], 0)
        os.utime(fd, ns=(found.st_atime_ns, found.st_mtime_ns))

    def make_empty(self, path: str) -> None:
        """Truncate a file to no content."""
        os.truncate(path, 0)

    def sync(self, fd: int) -> None:
        """Flush a file to the disk: data, size and metadata."""
        os.fsync(fd)

    def sync_data(self, fd: int) -> None:
        """Flush the data of a file whose size did not change."""
        os.fdatasync(fd)

    def sync_folder(self, path: str) -> None:
        """Flush the names in a folder."""
        sync_folder(path)

    def sync_files(self, fds: list[int]) -> None:
        """Flush all these files."""
        if len(fds) > _FEW:
            _sync_file_system(fds[0])
        else:
            for fd in fds:
                os.fsync(fd)

    def sync_folders(self, paths: list[str]) -> None:
        """Flush the names in all these folders."""
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
        """Remove a name."""
        os.unlink(path)

    def make_folder(self, path: str, mode: int) -> None:
        """Create a folder."""
        os.mkdir(path, mode)

    def entries(self, path: str) -> list[tuple[str, int]]:
        """Return name and inode number of everything in a folder."""
        with os.scandir(path) as found:
            return [(entry.name, entry.inode()) for entry in found]

    def accessed(self, path: str) -> float:
        """Return when a file was last read, in seconds since the epoch."""
        return os.stat(path, follow_symlinks=False).st_atime

    def status(self, path: str) -> tuple[int, int] | None:
        """Return inode number and size of a file, None if it does not exist."""
        try:
            found = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_size

    def content(self, path: str) -> bytes | None:
        """Return the whole content of a file, None if it does not exist."""
        return read_file(path)

    def pull_trigger(self, path: str) -> None:
        """Wake the reader of this FIFO; errors are ignored, because todo/ is searched at intervals anyway."""
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
    # Imported here because a program that queues one message never needs it.
    from eqmail_core.system.kernel import sync_file_system

    sync_file_system(fd)
