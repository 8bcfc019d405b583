"""Bodies that are too long for a row: files in pid/ on their way in and out, pieces in the database in between.

Fails: OSError of the file system; DatabaseError.
"""

import os
from collections.abc import Callable

from eqmail_core.queue.postgres.database import CHUNK_BYTES, QueueDatabase
from eqmail_core.system.files import write_all

PREFIX = "body."
"""How the names of these files begin; the number of the message follows."""


def spool_path(folder: str, number: int) -> str:
    """Return the path of the file of a message."""
    return f"{folder}/{PREFIX}{number}"


def upload(database: QueueDatabase, path: str, number: int) -> int:
    """Store the content of a file in pieces; return how many."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        count = 0
        while piece := os.pread(fd, CHUNK_BYTES, count * CHUNK_BYTES):
            database.store_chunk(number, count, piece)
            count += 1
        return count
    finally:
        os.close(fd)


def download(database: QueueDatabase, path: str, number: int, chunks: int, reports: bytes) -> None:
    """Write the pieces of a body, and `reports` behind it, to a file that replaces any other at `path`."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        for n in range(chunks):
            write_all(fd, database.chunk(number, n))
        write_all(fd, reports)
    finally:
        os.close(fd)


def remove(folder: str, number: int, report: Callable[[str], object]) -> None:
    """Remove the file of a message, if there is one; `report` gets a line where that fails."""
    try:
        os.unlink(spool_path(folder, number))
    except FileNotFoundError:
        pass
    except OSError as error:
        report(f"warning: cannot remove a file in pid: {error.strerror}")


def remove_all(folder: str) -> None:
    """Remove what an earlier process left."""
    for name in os.listdir(folder):
        if name.startswith(PREFIX):
            os.unlink(f"{folder}/{name}")
