"""The locks of a queue: one scheduler (lock/sendmutex, as in C), one queue service (journal/lock).

The returned descriptor holds a lock for as long as it is open.

Fails: QueueInUse where another process has the lock; OSError where there is no queue.
"""

import os
from fcntl import LOCK_EX, LOCK_NB, flock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.site.layout import QueuePaths


class QueueInUse(Exception):
    """Another process works on the queue."""


def lock_scheduling(queue: "QueuePaths") -> int:
    """Keep any scheduler from starting, or be the one."""
    return _lock(queue.sendmutex, os.O_NONBLOCK)


def lock_journal(queue: "QueuePaths") -> int:
    """Be the one queue service; creates the folder of the journal if needed."""
    os.makedirs(queue.journal, 0o700, exist_ok=True)
    return _lock(f"{queue.journal}/lock", os.O_CREAT)


def _lock(path: str, flags: int) -> int:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | flags, 0o600)
    try:
        flock(fd, LOCK_EX | LOCK_NB)
    except OSError as error:
        os.close(fd)
        if isinstance(error, BlockingIOError):
            raise QueueInUse from error
        raise
    return fd
