"""Copies a message (S5) into another queue, where it gets a new number.

Files of a queue cannot be copied as they are, because a number is the inode number of mess/N. Here the copy of mess/N
is made first and gives the number. info/N is last, so that an interrupted copy is swept as abandoned files.

The caller holds the lock of the other queue, and ensures that no delivery of the message runs meanwhile.
Fails: OSError; then nothing of the copy is valid.
Source: queue.md 3.2, 3.4.
"""

import os
import stat
from errno import EEXIST

from eqmail_core.queue.files import LIST_MODE
from eqmail_core.queue.format.channels import CHANNELS
from eqmail_core.queue.format.tree import MESSAGE_FILES
from eqmail_core.system.files import CHUNK, sync_folder, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from eqmail_core.site.layout import QueuePaths

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def copy_message(source: "QueuePaths", number: int, target: "QueuePaths", due: "Mapping[str, int]") -> int:
    """Copy a message; return its new number.

    `due`: due times by channel that replace those of its files.
    """
    message = f"{target.pid}/move.{os.getpid()}.{number}"
    try:
        copy_file(source.mess(number), message, MESSAGE_FILES["mess"][1], None)
        new = os.stat(message).st_ino
        paths = [target.info(new), target.bounce(new), *(target.channel(name, new) for name in CHANNELS)]
        for path in paths:
            unlink_if_there(path)
        os.link(message, target.mess(new))
    finally:
        unlink_if_there(message)
    for channel in CHANNELS:
        if os.path.exists(source.channel(channel, number)):
            copy_file(source.channel(channel, number), target.channel(channel, new), LIST_MODE, due.get(channel))
    if os.path.exists(source.bounce(number)):
        copy_file(source.bounce(number), target.bounce(new), LIST_MODE, None)
    for path in (*paths[1:], target.mess(new)):
        sync_folder(os.path.dirname(path))
    temporary = f"{target.info(new)}.tmp"
    unlink_if_there(temporary)
    copy_file(source.info(number), temporary, LIST_MODE, None)
    os.rename(temporary, target.info(new))
    sync_folder(os.path.dirname(target.info(new)))
    return new


def copy_file(source: str, target: str, mode: int, mtime: int | None, is_flushed: bool = True) -> None:
    """Copy a regular file with its time, or with another; its owner becomes that of the target folder.

    Fails: OSError; also where that name is not a regular file.
    """
    owner = os.stat(os.path.dirname(target))
    reading = os.open(source, _READ)
    try:
        found = os.fstat(reading)
        if not stat.S_ISREG(found.st_mode):
            raise FileExistsError(EEXIST, "is not a file", source)
        writing = os.open(target, _NEW, mode)
        try:
            while chunk := os.read(reading, CHUNK):
                write_all(writing, chunk)
            if os.geteuid() == 0:
                os.fchown(writing, owner.st_uid, owner.st_gid)
            os.fchmod(writing, mode)
            time = found.st_mtime_ns if mtime is None else mtime * 1_000_000_000
            os.utime(writing, ns=(time, time))
            if is_flushed:
                os.fsync(writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def unlink_if_there(path: str) -> None:
    """Remove a file, if it exists."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
