"""The lease of this node on a queue that nodes share, as all its services see it: lock/lease.

The queue service writes the epoch of the node, and until when it lasts by CLOCK_BOOTTIME, which goes on while the
machine sleeps and is the same for all processes.  Every other service looks just before it does what only the owner of
a message may do.  So a process that was stopped for longer than the lease does not go on with it, whichever process
wakes first.

A record is epoch, end and their sum: a record that was read in the middle of a write, or is not there, is no lease.

Fails: never, for readers; OSError for the writer.
Source: docs/adr/0018-queue-on-postgresql.md.
"""

import os
import struct
import time

_RECORD = struct.Struct("<QQQ")
_MASK = (1 << 64) - 1
_NS = 1_000_000_000


def boot_time() -> float:
    """Seconds since the start of the machine, with those in which it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeaseFile:
    """The file at `path`, for those who read it."""

    __slots__ = ("_fd", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def lasts(self, epoch: int) -> bool:
        """Whether this node still has the messages of its epoch `epoch`; 0: those that no other node can take."""
        if not epoch:
            return True
        try:
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            current, until_ns, check = _unpack(os.pread(self._fd, _RECORD.size, 0))
        except (OSError, struct.error):
            return False
        is_whole = check == (current + until_ns) & _MASK
        return is_whole and current == epoch and time.clock_gettime_ns(time.CLOCK_BOOTTIME) < until_ns


def _unpack(record: bytes) -> "tuple[int, int, int]":
    current, until_ns, check = _RECORD.unpack(record)
    return current, until_ns, check


class LeaseWriter:
    """The file at `path`, for the service that has the lease; there is none at first."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        os.fchmod(self._fd, 0o644)
        self.write(0, 0.0)

    def write(self, epoch: int, until: float) -> None:
        """Say that the epoch lasts until a moment of `boot_time`."""
        until_ns = int(until * _NS)
        os.pwrite(self._fd, _RECORD.pack(epoch, until_ns, (epoch + until_ns) & _MASK), 0)

    def close(self) -> None:
        """End the lease, and close the file."""
        if self._fd >= 0:
            self.write(0, 0.0)
            os.close(self._fd)
            self._fd = -1
