"""Work that waits for the disk, away from the event loop, and grouped: never wait in order to group.

A `Worker` runs jobs one at a time; its owner hears of each end on its own thread.  `Groups` hands a worker whatever
came together while the job before was running.

Fails: a job's OSError is given to its owner; any other exception is a bug and is raised in the owner's thread.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Call = Callable[[], None]


class Executor(Protocol):
    """Something that runs `job` sometime, and then calls `then` on the owner's thread."""

    def run(self, job: Callable[[], Result], then: Callable[[Result | None, OSError | None], None]) -> None:
        """Run a job; `then` gets its result, or the error that it ended with."""


class WorkerThread:
    """One thread; `call_owner(call)` must make the owner's thread call `call` soon."""

    def __init__(self, name: str, call_owner: Callable[[Call], object]) -> None:
        self._call_owner = call_owner
        self._jobs: SimpleQueue[Call | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def run(self, job: Callable[[], Result], then: Callable[[Result | None, OSError | None], None]) -> None:
        """Run a job; `then` gets its result, or the error that it ended with."""

        def do() -> None:
            try:
                result = job()
            except OSError as error:
                problem = error
                self._call_owner(lambda: then(None, problem))
            except BaseException as bug:
                surprise = bug
                self._call_owner(lambda: _raise(surprise))
            else:
                self._call_owner(lambda: then(result, None))

        self._jobs.put(do)

    def stop(self) -> None:
        """Finish what was given, and end."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


class Batcher(Generic[Item, Result]):
    """Collects items; a group is what came since the last group was taken.

    `work(items)` runs on the worker, `done(items, result, error)` on the owner's thread; `soon(call)` calls once the
    owner has dealt with everything that has arrived already, so that it goes together.  `most` items make a group.
    """

    def __init__(
        self,
        worker: Executor,
        soon: Callable[[Call], object],
        work: Callable[[list[Item]], Result],
        done: Callable[[list[Item], Result | None, OSError | None], None],
        limit: int = 256,
    ) -> None:
        self._worker = worker
        self._soon = soon
        self._work = work
        self._done = done
        self._limit = limit
        self._waiting: list[Item] = []
        self._is_due = False
        self.running = 0

    @property
    def is_idle(self) -> bool:
        """Nothing waits and nothing runs."""
        return not self._waiting and not self.running

    def add(self, item: Item) -> None:
        """Let an item be worked on."""
        self._waiting.append(item)
        if not self._is_due and not self.running:
            self._is_due = True
            self._soon(self._start)

    def _start(self) -> None:
        self._is_due = False
        if not self._waiting or self.running:
            return
        group, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
        self.running = len(group)
        self._worker.run(lambda: self._work(group), lambda result, error: self._ended(group, result, error))

    def _ended(self, group: list[Item], result: Result | None, error: OSError | None) -> None:
        self.running = 0
        self._start()
        self._done(group, result, error)


def _raise(bug: BaseException) -> None:
    raise bug
