"""Reads and writes files and descriptors; important writes are complete and on the disk.

Fails: OSError from the system.
"""

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

CHUNK = 65536


def read_all(fd: int) -> bytes:
    """Read a descriptor to its end."""
    chunks = []
    while chunk := os.read(fd, CHUNK):
        chunks.append(chunk)
    return b"".join(chunks)


def has_more(fd: int, wait_s: float) -> bool:
    """Tell whether the descriptor has data, or reaches its end, within `wait_s`."""
    # Imported here, because most programs that read files do not need it.
    from select import POLLIN, poll

    poller = poll()
    poller.register(fd, POLLIN)
    return bool(poller.poll(wait_s * 1000))


def read_upto(fd: int, at_most: int) -> bytes:
    """Read a descriptor to its end, but at most `at_most` bytes."""
    chunks = []
    left = at_most
    while left and (chunk := os.read(fd, min(left, CHUNK))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


def open_regular(path: str | bytes, flags: int = os.O_RDONLY, dir_fd: int | None = None) -> int | None:
    """Open a file of an untrusted user; None if it is not a regular file.

    Neither opening nor reading it can block, whatever it is.  The caller must bound how much it reads.
    """
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        is_regular = stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        os.close(fd)
        raise
    if not is_regular:
        os.close(fd)
        return None
    return fd


def read_file(path: str | bytes) -> bytes | None:
    """The content of a file; None if it does not exist."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return read_all(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write everything, with as many writes as needed."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_pieces(fd: int, pieces: "Iterable[bytes]") -> None:
    """Write all pieces in large writes; if `pieces` fails, the earlier ones are written too."""
    waiting: list[bytes] = []
    size = 0
    try:
        for piece in pieces:
            waiting.append(piece)
            size += len(piece)
            if size >= CHUNK:
                write_all(fd, b"".join(waiting))
                waiting.clear()
                size = 0
    finally:
        write_all(fd, b"".join(waiting))


def write_atomically(path: str, data: bytes, mode: int = 0o644, temporary: str = "") -> None:
    """Replace `path` as a whole: write a temporary file beside it, sync it, rename it."""
    temporary = temporary or f"{path}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError as error:
        os.unlink(temporary)
        if error.filename is None:  # an error on a descriptor does not name the file
            error.filename = path
        raise
    sync_folder(os.path.dirname(path) or ".")


def fingerprint_of(status: os.stat_result) -> tuple[int, int, int]:
    """Return a value that changes with a file's content: nanoseconds of mtime, inode number, size in bytes."""
    return status.st_mtime_ns, status.st_ino, status.st_size


def file_fingerprint(path: str) -> "tuple[int, int, int] | None":
    """Return the fingerprint of a file; None where it cannot be looked at."""
    try:
        return fingerprint_of(os.stat(path))
    except OSError:
        return None


def sync_folder(path: str) -> None:
    """Sync the entries of a folder to the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove_for_good(path: str) -> None:
    """Remove a name durably, so that a power failure cannot restore it.

    A missing file is no error and costs no flush.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    sync_folder(os.path.dirname(path))


def open_pipes(count: int) -> list[tuple[int, int]]:
    """Open `count` pipes, each as descriptors for reading and writing.

    Fails: OSError; then none is left open.
    """
    pipes: list[tuple[int, int]] = []
    try:
        pipes.extend(os.pipe() for _ in range(count))
    except OSError:
        for ends in pipes:
            close_all(*ends)
        raise
    return pipes


def close_all(*descriptors: int) -> None:
    """Close these descriptors."""
    for descriptor in descriptors:
        os.close(descriptor)


def left_in(fd: int, at_most: int) -> bytes:
    """Read what an ended child left in a pipe, without blocking, and close it.

    A process that the child started may still have the pipe open.
    """
    os.set_blocking(fd, False)
    try:
        return os.read(fd, at_most)
    except OSError:
        return b""
    finally:
        os.close(fd)
