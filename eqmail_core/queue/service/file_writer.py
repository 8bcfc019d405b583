"""Writes messages as files of the queue, many at a time.

Each step is done for all of them, then a flush, then the next step.

    1  the body is written to the file of the number and flushed (and pid/, too, if it stays there)
    2  linked as mess/N, folders flushed                  S2, and enough where the scheduler writes the rest
    3  intd/N written, flushed, linked as todo/N, folders flushed         S4
    4  the name in pid/ is removed

The name in pid/ is removed last, so that the body has a name on the disk at every moment. A failed message is undone
as far as possible, and only what was made here: a file that existed before belongs to another message. A message whose
step 3 failed may have been seen in todo/ all the same.

Source: queue.md 3.4; the order is qmail-queue's, with the folders flushed.
"""

import os
from collections.abc import Callable

from eqmail_core.event_loop.worker_thread import Batcher, Call, Executor
from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.service.accepted_message import AcceptedMessage
from eqmail_core.queue.spool import remove
from eqmail_core.site.layout import QueuePaths

# How far a message is to be written.
FLUSHED, NAMED, QUEUED = 1, 2, 3


class FileWrite:
    """One message and its goal: FLUSHED in the file of its number, NAMED mess/N, or QUEUED as todo/N.

    `is_named`: mess/N exists and is flushed already. Afterwards `error` is the failure, if any. `made`: the names
    created here, in order.
    """

    __slots__ = ("error", "fd", "goal", "is_named", "made", "message", "path")

    def __init__(self, message: AcceptedMessage, goal: int, path: str | None, is_named: bool = False) -> None:
        self.message = message
        self.goal = goal
        self.path = path
        self.is_named = is_named
        self.fd = -1
        self.made: list[str] = []
        self.error: OSError | None = None


def place(disk: FileSystem, paths: QueuePaths, writes: list[FileWrite]) -> None:
    """Write every message as far as its goal.

    A failed one has its `error`; the others are on the disk.
    """
    _run_each(writes, lambda item: _write_body(disk, item))
    _flush(disk, writes)
    flushed = [write for write in writes if write.goal == FLUSHED]
    _flush_folders(disk, flushed, lambda number: f"{paths.pid}/{number}")
    named = [write for write in writes if write.goal >= NAMED]
    _run_each(named, lambda item: _link_body(disk, paths, item))
    _flush_folders(disk, named, paths.mess)
    queued = [write for write in named if write.goal == QUEUED]
    _run_each(queued, lambda item: _write_envelope(disk, paths, item))
    _flush(disk, queued)
    _run_each(queued, lambda item: _link_envelope(disk, paths, item))
    _flush_folders(disk, queued, paths.todo)
    for write in named:
        try:
            if write.error is not None:
                _undo(disk, write)
            elif write.path is not None:
                remove(disk, write.path)
        except OSError:
            continue
    if any(write.error is None for write in queued):
        disk.pull_trigger(paths.trigger)


def _run_each(writes: list[FileWrite], step: Callable[[FileWrite], None]) -> None:
    for write in writes:
        if write.error is None:
            try:
                step(write)
            except OSError as error:
                write.error = error


def _write_body(disk: FileSystem, write: FileWrite) -> None:
    if write.is_named:
        return
    if write.path is None:
        raise FileNotFoundError(f"no file for number {write.message.number}")
    body = write.message.body
    write.fd = disk.open(write.path, os.O_WRONLY if body is None else os.O_WRONLY | os.O_TRUNC)
    if body is not None:
        disk.write(write.fd, body)


def _link_body(disk: FileSystem, paths: QueuePaths, write: FileWrite) -> None:
    if write.is_named:
        return
    body, path = str(write.path), paths.mess(write.message.number)
    try:
        disk.link(body, path)
    except FileExistsError:
        # No error if it is this very file.
        found, ours = disk.status(path), disk.status(body)
        if found is None or ours is None or found[0] != ours[0]:
            raise
    write.made.append(path)


def _write_envelope(disk: FileSystem, paths: QueuePaths, write: FileWrite) -> None:
    message = write.message
    path = paths.intd(message.number)
    remove(disk, path)
    write.fd = disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    write.made.append(path)
    disk.write(write.fd, message.as_todo())


def _link_envelope(disk: FileSystem, paths: QueuePaths, write: FileWrite) -> None:
    number = write.message.number
    disk.link(paths.intd(number), paths.todo(number))
    write.made.append(paths.todo(number))


def _flush(disk: FileSystem, writes: list[FileWrite]) -> None:
    """Flush and close the open files."""
    open_ones = [write for write in writes if write.fd >= 0]
    good = [write for write in open_ones if write.error is None]
    try:
        if good:
            disk.sync_files([write.fd for write in good])
    except OSError as error:
        for write in good:
            write.error = error
    for write in open_ones:
        disk.close(write.fd)
        write.fd = -1


def _flush_folders(disk: FileSystem, writes: list[FileWrite], path_of: Callable[[int], str]) -> None:
    good = [write for write in writes if write.error is None]
    folders = {path_of(write.message.number).rpartition("/")[0] for write in good}
    try:
        if folders:
            disk.sync_folders(sorted(folders))
    except OSError as error:
        for write in good:
            write.error = error


def _undo(disk: FileSystem, write: FileWrite) -> None:
    """Remove the names given to a message, the last first, each on the disk before the next."""
    for path in reversed(write.made):
        remove(disk, path)
        disk.sync_folder(path.rpartition("/")[0])


Then = Callable[[object, OSError | None], None]


class FileTask:
    """A message to write, or a job of another kind, and the callback for its result."""

    __slots__ = ("error", "job", "result", "then", "write")

    def __init__(self, then: Then, write: FileWrite | None, job: Callable[[], object] | None) -> None:
        self.then = then
        self.write = write
        self.job = job
        self.result: object = None
        self.error: OSError | None = None


class FileWriter:
    """Works on files in the order of the requests.

    At most `limit` at a time; `after()` follows each group.
    """

    def __init__(
        self,
        disk: FileSystem,
        paths: QueuePaths,
        worker: Executor,
        soon: Callable[[Call], object],
        limit: int,
        after: Call,
    ) -> None:
        self._disk = disk
        self._paths = paths
        self._after = after
        self._groups: Batcher[FileTask, None] = Batcher(worker, soon, self._work, self._worked, limit)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return self._groups.is_idle

    def place(self, write: FileWrite, then: Then) -> None:
        """Write a message as far as its goal."""
        self._groups.add(FileTask(then, write, None))

    def run(self, job: Callable[[], object], then: Then) -> None:
        """Run another job on files."""
        self._groups.add(FileTask(then, None, job))

    def _work(self, tasks: list[FileTask]) -> None:
        writes = [task.write for task in tasks if task.write is not None]
        if writes:
            place(self._disk, self._paths, writes)
        for task in tasks:
            if task.write is not None:
                task.error = task.write.error
            elif task.job is not None:
                try:
                    task.result = task.job()
                except OSError as error:
                    task.error = error

    def _worked(self, tasks: list[FileTask], result: None, error: OSError | None) -> None:
        for task in tasks:
            task.then(task.result, task.error or error)
        self._after()
