"""The file operations of C qmail-queue and qmail-clean, one message at a time.

Each step is flushed to the disk.

    S1 -> S2   pid/TAG is created (its inode is the number N) and linked as mess/N
    S2 -> S3   mess/N is written and flushed, intd/N created
    S3 -> S4   intd/N is written and flushed, linked as todo/N: from here on the message is queued

Beyond C, the folders are flushed too, each before the next step relies on it. So exit code 0 guarantees the message
after a power cut even where the file system does not write names synchronously.

Source: queue.md 3.3 to 3.6; qmail-queue(8), qmail-clean(8), INTERNALS of qmail.
"""

import os

from eqmail_core.queue.format import exit_codes as q
from eqmail_core.queue.format.envelope import read_envelope
from eqmail_core.queue.format.todo import render_todo
from eqmail_core.text.lines import leading_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from eqmail_core.queue.filesystem import FileSystem
    from eqmail_core.site.layout import QueuePaths

POOL_PREFIX = "pool."
"""Prefix of the files in pid/ that reserve a number; the sweep skips them."""

SWEEP_AGE_S = 129600
SWEEP_EVERY = 30
"""qmail-clean sweeps pid/ before its first command and after every 30."""

_TRIES = 9
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


class SpoolError(Exception):
    """A message that could not be queued; `code` is the exit code of qmail-queue."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


class Submitter:
    """The origin of a message.

    `tag` makes file names unique; `received` is the line put before the message.
    """

    __slots__ = ("pid", "received", "tag", "uid")

    def __init__(self, pid: int, uid: int, seconds: int, received: bytes) -> None:
        self.pid = pid
        self.uid = uid
        self.tag = f"{pid}.{seconds}"
        self.received = received


def queue_one(
    disk: "FileSystem",
    paths: "QueuePaths",
    submitter: Submitter,
    read_message: "Callable[[], bytes]",
    read_recipients: "Callable[[], bytes]",
    has_more: "Callable[[], bool]" = lambda: False,
) -> int:
    """Queue one message as C does and return its number.

    Each reader returns the next piece, b"" at the end.
    `has_more`: whether data after the envelope can be read now, see `format.envelope.read_envelope`.
    Fails: SpoolError; the same files as in C are left behind.
    """
    number, message = _name_message(disk, paths, submitter.tag)
    made = [paths.mess(number)]
    try:
        try:
            with _Failing(q.WRITE_ERROR):
                _copy(disk, message, submitter.received, read_message)
                disk.sync_folder(_folder(made[0]))
        finally:
            disk.close(message)
        with _Failing(q.NO_INTD_FILE):
            envelope = disk.open(paths.intd(number), _NEW)
        made.insert(0, paths.intd(number))
        try:
            with _Failing(q.WRITE_ERROR):
                recipients = _read_checked(read_recipients, has_more)
                disk.write(envelope, render_todo(submitter.uid, submitter.pid, recipients))
                disk.sync(envelope)
        finally:
            disk.close(envelope)
    except SpoolError as trouble:
        if trouble.code in (q.READ_ERROR, q.WRITE_ERROR):
            for path in made:
                _discard(disk, path)
        raise
    with _Failing(q.NO_TODO_FILE):
        disk.link(paths.intd(number), paths.todo(number))
        disk.sync_folder(_folder(paths.todo(number)))
    disk.pull_trigger(paths.trigger)
    return number


def clean(disk: "FileSystem", paths: "QueuePaths", request: bytes) -> bytes:
    """Execute a request to qmail-clean (without its NUL).

    Returns + or ! after an x for each fault, as in C.
    """
    if not 6 <= len(request) < 100:
        return b"x"
    faults = b"x" * len(request[5:].translate(None, b"0123456789/"))
    number = leading_number(request[5:].rpartition(b"/")[2])
    if number is None or request[:5] not in (b"foop/", b"todo/"):
        return faults + b"x"
    target = paths.mess(number) if request[:5] == b"foop/" else paths.todo(number)
    try:
        for path in (paths.intd(number), target):
            remove(disk, path)
    except OSError:
        return faults + b"!"
    return faults + b"+"


def sweep(disk: "FileSystem", paths: "QueuePaths", now: float) -> None:
    """Remove files in pid/ older than 36 hours, except the number pool.

    Files with errors stay until the next sweep.
    """
    try:
        names = [name for name, _ in disk.entries(paths.pid) if not name.startswith((".", POOL_PREFIX))]
    except OSError:
        return
    for name in names:
        path = f"{paths.pid}/{name}"
        try:
            if now > disk.accessed(path) + SWEEP_AGE_S:
                disk.unlink(path)
        except OSError:
            continue


def remove(disk: "FileSystem", path: str) -> None:
    """Remove a name; no error if it does not exist."""
    try:
        disk.unlink(path)
    except FileNotFoundError:
        pass


class _Failing:
    """Converts a system error in its block to this exit code."""

    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        self.code = code

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, OSError):
            raise SpoolError(self.code) from error


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _name_message(disk: "FileSystem", paths: "QueuePaths", tag: str) -> tuple[int, int]:
    """Create an empty file named by its inode number (steps 4 and 5).

    Returns the number and the open file.
    """
    with _Failing(q.NO_PID_FILE):
        for count in range(1, _TRIES + 1):
            path = f"{paths.pid}/{tag}.{count}"
            try:
                message = disk.open(path, _NEW)
                break
            except OSError:
                if count == _TRIES:
                    raise
        number = disk.inode(message)
    try:
        with _Failing(q.NO_MESS_FILE):
            disk.link(path, paths.mess(number))
        with _Failing(q.NO_PID_FILE):
            disk.unlink(path)
    except SpoolError:
        disk.close(message)
        raise
    return number, message


def _copy(disk: "FileSystem", message: int, received: bytes, read: "Callable[[], bytes]") -> None:
    disk.write(message, received)
    while piece := _read(read):
        disk.write(message, piece)
    disk.sync(message)


def _read(read: "Callable[[], bytes]") -> bytes:
    with _Failing(q.READ_ERROR):
        return read()


def _read_checked(read: "Callable[[], bytes]", has_more: "Callable[[], bool]") -> bytes:
    code, envelope = read_envelope(lambda: _read(read), has_more)
    if code != q.OK:
        raise SpoolError(code)
    return envelope


def _discard(disk: "FileSystem", path: str) -> None:
    """Truncate a file and remove its name, as far as possible."""
    try:
        fd = disk.open(path, os.O_WRONLY | os.O_TRUNC)
        disk.close(fd)
        disk.unlink(path)
    except OSError:
        pass
