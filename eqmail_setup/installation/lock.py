"""The lock of an installation: one command at a time changes it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from eqmail_setup.errors import EqmailError, ExitCode

LOCK = ".setup.lock"
"""Below the home, or below the staging root."""


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold a lock.

    Fails: EqmailError when another command holds it.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = f"{path}: locked; another eqmail command is changing this installation, try again later"
            raise EqmailError(text, ExitCode.LOCKED) from None
        yield
    finally:
        os.close(fd)
