"""Reads which recipients were deferred, how often and why."""

import os
from fcntl import LOCK_SH, flock

from eqmail_core.queue.format.attempts import MAX_BYTES, Attempts, parse_attempts
from eqmail_core.system.files import read_upto

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.site.layout import QueuePaths


def load_attempts(queue: "QueuePaths") -> Attempts:
    """Return the failed attempts of all messages; nothing where no scheduler kept any.

    Fails: PermissionError.
    """
    try:
        fd = os.open(queue.attempts, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except PermissionError:
        raise
    except OSError:
        return {}
    try:
        flock(fd, LOCK_SH)
        return parse_attempts(read_upto(fd, 2 * MAX_BYTES))
    finally:
        os.close(fd)
