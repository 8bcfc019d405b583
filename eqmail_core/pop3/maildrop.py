"""The current folder as a POP3 maildrop: the messages of one session, and its update.

Fails: TemporaryFailure from `messages`; OSError where stated.
Source: smtp-server.md 4.12 (qmail-pop3d.c); maildir(5).
"""

import errno
import os
import stat

from eqmail_core.mailbox.maildir_reader import messages_in, sweep_tmp
from eqmail_core.system.files import open_regular

_NEW, _CUR, _SEEN = b"new", b"cur", b":2,"


class MaildropFile:
    """One message: its path, its size in bytes, and its name, the same in new/ and cur/."""

    __slots__ = ("name", "path", "size")

    def __init__(self, path: bytes, size: int) -> None:
        self.path = path
        self.size = size
        self.name = path.partition(b"/")[2].partition(b":")[0]


def messages(now: float) -> list[MaildropFile]:
    """The messages, oldest first; other files and removed ones are left out.

    Old files in tmp/ are removed.
    """
    sweep_tmp(now)
    found = []
    for _, path in messages_in((_NEW, _CUR), now):
        try:
            status = os.stat(path)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            found.append(MaildropFile(path, status.st_size))
    return found


def open_message(message: MaildropFile) -> int:
    """Open a message, if it is still a regular file.  Fails: OSError."""
    fd = open_regular(message.path)
    if fd is None:
        raise OSError(errno.EINVAL, "it is no regular file")
    return fd


def update(kept: list[MaildropFile], deleted: list[MaildropFile]) -> bool:
    """Remove the deleted messages and move the kept new ones to cur/.

    Returns False when some could not be removed.
    """
    for message in kept:
        if message.path.startswith(_NEW + b"/"):
            try:
                os.rename(message.path, _CUR + message.path[len(_NEW) :] + _SEEN)
            except OSError:
                pass  # it stays in new/
    removed = [_removed(message.path) for message in deleted]
    return all(removed)


def _removed(path: bytes) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # removed by another process, as the client requested
    except OSError:
        return False
    return True
