"""Constant databases: look-ups that survive damaged files, and atomic replacement.

The package cdbx implements the format and its hash; this module defines the errors and the replacement.

Source: cr.yp.to/cdb/cdb.txt; delivery.md 5.1.
"""

import os
from errno import EFBIG
from fcntl import LOCK_EX, flock

import cdbx

from eqmail_core.system.files import sync_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class CdbDamaged(Exception):
    """The file is not, or no longer, a valid constant database."""


class CdbReader:
    """An open database; a context manager that closes it."""

    __slots__ = ("_database",)

    def __init__(self, database: cdbx.CDB) -> None:
        self._database = database

    def get(self, key: bytes) -> bytes | None:
        """The first value of `key`; None if it has none.

        Fails: CdbDamaged; OSError.
        """
        try:
            value: bytes | None = self._database.get(key)
        except (SystemError, MemoryError, ValueError) as error:
            raise CdbDamaged(str(error)) from error
        except OSError as error:
            if error.errno is None:
                raise CdbDamaged(str(error)) from error
            raise
        return value

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> "CdbReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_cdb(path: str) -> CdbReader | None:
    """Open the database at `path`; None if it does not exist.

    The file is read, not mapped: if another process truncates it, that must be an error here, not a fatal signal.
    Fails: OSError.
    """
    try:
        return CdbReader(cdbx.CDB(path, mmap=False))
    except FileNotFoundError:
        return None


class CdbNotWritten(Exception):
    """A database could not be written; `step` is "create", "write" or "move".

    The old database is unchanged.
    """

    def __init__(self, step: str, error: OSError) -> None:
        super().__init__(f"{step}: {error.strerror}")
        self.step = step
        self.error = error


def write_cdb(path: str, temporary: str, records: "Iterable[tuple[bytes, bytes]]", mode: int = 0o644) -> None:
    """Write all records in order to `temporary`, sync it and rename it to `path`.

    A second writer of the same database waits and then writes it again.
    Fails: CdbNotWritten; whatever `records` raises.  In each case `temporary` is removed.
    """
    try:
        fd = _open_alone(temporary, mode)
    except OSError as error:
        raise CdbNotWritten("create", error) from error
    try:
        _write_records(fd, records)
        try:
            os.rename(temporary, path)
        except OSError as error:
            raise CdbNotWritten("move", error) from error
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)
    sync_folder(os.path.dirname(path) or ".")


def _open_alone(path: str, mode: int) -> int:
    """Open an empty file exclusively; its lock lasts until it has its final name."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
        try:
            flock(fd, LOCK_EX)
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                os.ftruncate(fd, 0)
                return fd
        except FileNotFoundError:
            pass
        except OSError:
            os.close(fd)
            raise
        os.close(fd)


def _write_records(fd: int, records: "Iterable[tuple[bytes, bytes]]") -> None:
    maker = cdbx.CDB.make(fd, mmap=False)
    try:
        for key, data in records:
            try:
                maker.add(key, data)
            except (OSError, OverflowError) as error:
                raise _not_written(error) from error
        try:
            maker.commit()
            os.fsync(fd)
        except (OSError, OverflowError) as error:
            raise _not_written(error) from error
    finally:
        maker.close()


def _not_written(error: OSError | OverflowError) -> CdbNotWritten:
    """Convert a write error; the format reports its limit of 4 GiB as an OverflowError."""
    return CdbNotWritten("write", error if isinstance(error, OSError) else OSError(EFBIG, str(error)))
