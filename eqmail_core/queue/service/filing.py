"""The queue's files, worked on in a thread of their own; what comes together is flushed together.

Fails: never; each piece of work ends with a result or with the OSError that stopped it.
"""

from collections.abc import Callable

from eqmail_core.event_loop.worker_thread import Batcher, Call, Executor
from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.service.file_writer import FileWrite, place
from eqmail_core.site.layout import QueuePaths

Then = Callable[[object, OSError | None], None]


class FileTask:
    """A message to be placed, or a job of another kind, and who wants to know how it ended."""

    __slots__ = ("error", "job", "result", "then", "write")

    def __init__(self, then: Then, write: FileWrite | None, job: Callable[[], object] | None) -> None:
        self.then = then
        self.write = write
        self.job = job
        self.result: object = None
        self.error: OSError | None = None


class FileWriter:
    """Work on files in the order in which it was asked for, at most `most` at a time; `after()` when some is done."""

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
        """Nothing waits and nothing runs."""
        return self._groups.is_idle

    def place(self, write: FileWrite, then: Then) -> None:
        """Bring a message as far as it is to go."""
        self._groups.add(FileTask(then, write, None))

    def run(self, job: Callable[[], object], then: Then) -> None:
        """Do something else with files."""
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
