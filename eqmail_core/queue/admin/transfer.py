"""Moves or copies all messages of one queue into another.

The other may differ in layout, split or version of qmail.

A copy of a message has a new number, as numbers are inode numbers. Everything else stays: envelope, body, birth, times
of the next attempts, marks of finished recipients, noted failures. The caller has locked both queues.
The source is changed only on request.

    prepare   the body as a draft in pid/, linked as mess/N; lists and failures; todo/N or info/N under another name
    commit    flush the file systems; todo/N and info/N get their names; flush again
    log       a line for each message says that it is there, flushed; the drafts go, and, on request, the originals

*Invariant.* A message is valid in the target only when all of it is on the disk. An original is removed only when its
copy is in the log. An interrupted run leaves drafts, named like the originals; the next run finds mess/N committed and
writes it into the log. So no message is copied twice, and none is lost.

Fails: OSError; what is committed stays, and the next run goes on from there.
Source: queue.md 3.2, 3.3, 3.4.
"""

import os
from collections.abc import Callable, Iterator

from eqmail_core.queue.admin.copy import copy_file, unlink_if_there
from eqmail_core.queue.admin.repair import message_files
from eqmail_core.queue.files import LIST_MODE, WARNED_MODE
from eqmail_core.queue.format.channels import CHANNELS
from eqmail_core.queue.format.tree import MESSAGE_FILES
from eqmail_core.site.layout import QueuePaths
from eqmail_core.site.site import Site
from eqmail_core.system.files import read_file, sync_folder, write_all
from eqmail_core.system.kernel import sync_file_system

GROUP = 200
"""Messages per group; a group shares its flushes."""

_MESSAGE = "import."


class SourceMessage:
    """A message of the source.

    Its files by folder, wherever they are, and a permanently unique name.
    """

    __slots__ = ("files", "size", "stamp")

    def __init__(self, number: int, files: dict[str, str], stamp: str = "") -> None:
        seen = os.lstat(files["mess"])
        self.files = files
        self.size = seen.st_size
        self.stamp = stamp or f"{number}.{seen.st_size}.{seen.st_mtime_ns}"

    @property
    def is_unprocessed(self) -> bool:
        """Whether it waits for preprocessing; lists that it has then are ignored."""
        return "todo" in self.files


class QueueSurvey:
    """The content of a queue.

    Messages, submissions that were never finished, and files without a message.
    """

    def __init__(self, messages: list[SourceMessage], unfinished: list[int], remains: list[int]) -> None:
        self.messages = messages
        self.unfinished = unfinished
        self.remains = remains


def survey_queue(site: Site) -> QueueSurvey:
    """Return every message of a queue, ordered by number.

    Files are found wherever in their folder they are.
    """
    found: dict[int, dict[str, str]] = {}
    for folder, path in message_files(site):
        name = os.path.basename(path)
        if name.isascii() and name.isdigit():
            found.setdefault(int(name), {})[folder] = path
    result = QueueSurvey([], [], [])
    for number, files in sorted(found.items()):
        if "mess" not in files:
            result.remains.append(number)
        elif "todo" in files or "info" in files:
            result.messages.append(SourceMessage(number, files))
        else:
            result.unfinished.append(number)
    return result


class TransferLog:
    """Records which messages have been transferred.

    A line for each stamp, with the number of its copy.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        text = (read_file(path) or b"").decode("ascii", "replace")
        self._is_whole = not text or text.endswith("\n")
        lines = (line.partition(" ") for line in text.split("\n")[:-1])
        self._stamps = {stamp for stamp, _, number in lines if number.isdigit()}

    def __contains__(self, message: SourceMessage) -> bool:
        return message.stamp in self._stamps

    def has_stamp(self, stamp: str) -> bool:
        """Whether a message with this stamp was transferred."""
        return stamp in self._stamps

    def add(self, copies: list[tuple[str, int]]) -> None:
        """Write lines for these stamps and numbers, and flush them."""
        if not copies:
            return
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            # A line that was cut off must not be continued.
            text = "".join(f"{stamp} {number}\n" for stamp, number in copies)
            write_all(fd, (b"" if self._is_whole else b"\n") + text.encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_folder(os.path.dirname(self.path))
        self._is_whole = True
        self._stamps |= {stamp for stamp, _ in copies}


def transfer(
    messages: list[SourceMessage],
    target: QueuePaths,
    log: TransferLog,
    on_progress: Callable[[int], None],
    move: bool = False,
) -> int:
    """Copy the messages that are not in the log; return how many.

    `on_progress` is called with the count after each group.
    """
    finish_interrupted(target, log)
    waiting = [message for message in messages if message not in log]
    for start in range(0, len(waiting), GROUP):
        group = waiting[start : start + GROUP]
        copies = [(message, _prepare(message, target)) for message in group]
        flush_queue(target)
        for message, number in copies:
            _commit(message, number, target)
        flush_queue(target)
        log.add([(message.stamp, number) for message, number in copies])
        for message in group:
            unlink_if_there(_copy_name(target, message.stamp))
        on_progress(min(start + GROUP, len(waiting)))
    if move:
        for message in messages:
            remove_original(message)
    return len(waiting)


def finish_interrupted(target: QueuePaths, log: TransferLog) -> None:
    """Complete what an earlier run left unfinished."""
    for stamp, path in _unfinished_copies(target):
        number = os.lstat(path).st_ino
        if not _is_copy_of(path, number, target):
            pass
        elif any(os.path.exists(name) for name in (target.info(number), target.todo(number))):
            flush_queue(target)
            log.add([(stamp, number)])
        else:
            unlink_if_there(target.mess(number))
            _remove_leftovers(number, target)
        unlink_if_there(path)


def _is_copy_of(message: str, number: int, target: QueuePaths) -> bool:
    try:
        return os.path.samefile(message, target.mess(number))
    except FileNotFoundError:
        return False


def _unfinished_copies(target: QueuePaths) -> Iterator[tuple[str, str]]:
    for name in sorted(os.listdir(target.pid)):
        if name.startswith(_MESSAGE):
            yield name[len(_MESSAGE) :], f"{target.pid}/{name}"


def _copy_name(target: QueuePaths, stamp: str) -> str:
    return f"{target.pid}/{_MESSAGE}{stamp}"


def _prepare(message: SourceMessage, target: QueuePaths) -> int:
    """Write a message under names that do not make it valid yet; return its new number."""
    copy_name = _copy_name(target, message.stamp)
    taken: list[str] = []
    while True:
        copy_file(message.files["mess"], copy_name, MESSAGE_FILES["mess"][1], None, is_flushed=False)
        number = os.lstat(copy_name).st_ino
        if not os.path.lexists(target.mess(number)):
            break
        # In a queue that was copied, names belong to other files; keep this file until one with a free number is found.
        taken.append(f"{copy_name}~{len(taken)}")
        os.rename(copy_name, taken[-1])
    _remove_leftovers(number, target)
    os.link(copy_name, target.mess(number))
    for path in taken:
        unlink_if_there(path)
    if message.is_unprocessed:
        copy_file(message.files["todo"], target.intd(number), MESSAGE_FILES["todo"][1], None, is_flushed=False)
        return number
    for folder, path in _lists(number, target):
        if folder in message.files:
            copy_file(message.files[folder], path, LIST_MODE, None, is_flushed=False)
    # The mode of info/N says whether a delay warning was sent.
    info = message.files["info"]
    mode = os.lstat(info).st_mode & WARNED_MODE | LIST_MODE
    copy_file(info, _intermediate_files(number, target), mode, None, is_flushed=False)
    return number


def _commit(message: SourceMessage, number: int, target: QueuePaths) -> None:
    if message.is_unprocessed:
        os.rename(target.intd(number), target.todo(number))
    else:
        os.rename(_intermediate_files(number, target), target.info(number))


def _remove_leftovers(number: int, target: QueuePaths) -> None:
    """Remove files with the number of a message that is not valid yet.

    They are old remains, or those of an interrupted run.
    """
    unlink_if_there(target.todo(number))
    unlink_if_there(target.info(number))
    for path in (
        _intermediate_files(number, target),
        target.intd(number),
        *(path for _, path in _lists(number, target)),
    ):
        unlink_if_there(path)


def _lists(number: int, target: QueuePaths) -> list[tuple[str, str]]:
    return [("bounce", target.bounce(number)), *((name, target.channel(name, number)) for name in CHANNELS)]


def _intermediate_files(number: int, target: QueuePaths) -> str:
    return f"{target.info(number)}.tmp"


def remove_original(message: SourceMessage) -> None:
    """Remove an original, in an order that leaves a state of the queue at every moment."""
    for folder in ("bounce", *CHANNELS, "intd", "todo", "info", "mess"):
        if folder in message.files:
            unlink_if_there(message.files[folder])


def flush_queue(target: QueuePaths) -> None:
    """Flush everything to the disk, on every file system that holds folders of the queue."""
    seen: set[int] = set()
    for path in (target.pid, target.bounces, *target.mess_dirs(), *target.info_dirs(), *target.todo_dirs()):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            device = os.fstat(fd).st_dev
            if device not in seen:
                sync_file_system(fd)
                seen.add(device)
        finally:
            os.close(fd)
