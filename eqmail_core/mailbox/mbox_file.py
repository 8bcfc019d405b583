"""Appends to mbox files: locked, synced to the disk, truncated again when that fails.

Fails: TemporaryFailure, with the report text.
Source: mbox(5); qmail-local.c mailfile.
"""

import fcntl
import os
import time

from eqmail_core.mail.mbox import FromQuoter
from eqmail_core.outcome import TemporaryFailure
from eqmail_core.system.files import write_all
from eqmail_core.system.message_file import MessageFile, MessageUnreadable
from eqmail_core.text.error_text import error_text

LOCK_TIMEOUT_S = 30.0
LOCKED = b"File has been locked for 30 seconds straight. (#4.3.0)"

_APPEND = os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_PAUSE_S = 0.05


def append_to_mailbox(path: bytes, head: bytes, message: MessageFile, timeout_s: float = LOCK_TIMEOUT_S) -> None:
    """Append `head` (From_ line and more) and the message; durable when this returns."""
    try:
        fd = os.open(path, _APPEND, 0o600)
    except OSError as error:
        raise TemporaryFailure(b"Unable to open %b: %b. (#4.2.1)" % (path, error_text(error.errno))) from error
    try:
        locked = _lock(fd, timeout_s)
        end = os.fstat(fd).st_size
        try:
            _append(fd, head, message)
        except (OSError, MessageUnreadable) as error:
            if locked:
                _truncate(fd, end)
            if isinstance(error, OSError):
                raise TemporaryFailure(b"Unable to write %b: %b. (#4.3.0)" % (path, error_text(error.errno))) from error
            raise TemporaryFailure(b"Unable to read message. (#4.3.0)") from error
    finally:
        os.close(fd)


def _append(fd: int, head: bytes, message: MessageFile) -> None:
    quoter = FromQuoter()
    pending = head
    for chunk in message.chunks():
        write_all(fd, pending + quoter.feed(chunk))
        pending = b""
    write_all(fd, pending + quoter.finish())
    os.fsync(fd)


def _truncate(fd: int, end: int) -> None:
    try:
        os.ftruncate(fd, end)
    except OSError:
        pass


def _lock(fd: int, timeout_s: float) -> bool:
    """Wait for the lock; False if the file cannot be locked: it is used without, as in C."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TemporaryFailure(LOCKED) from None
            time.sleep(_PAUSE_S)
        except OSError:
            return False
