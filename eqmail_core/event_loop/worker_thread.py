"""Runs disk work off the event loop, in batches, and never waits in order to fill a batch.

A `WorkerThread` runs jobs one at a time; its owner gets each result on its own thread.  `Batcher` gives an executor
whatever was collected while the previous job ran.

Fails: the owner gets the OSError of a job; any other exception is a bug and is raised in the owner's thread.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Call = Callable[[], None]


class Executor(Protocol):
    """Runs `job` later, and then calls `then` on the owner's thread."""

    def run(self, job: Callable[[], Result], then: Callable[[Result | None, OSError | None], None]) -> None:
        """Run a job; `then` gets its result or its error."""


class WorkerThread:
    """One thread; `call_owner(call)` must make the owner's thread call `call` soon."""

    def __init__(self, name: str, call_owner: Callable[[Call], object]) -> None:
        self._call_owner = call_owner
        self._jobs: SimpleQueue[Call | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def run(self, job: Callable[[], Result], then: Callable[[Result | None, OSError | None], None]) -> None:
        """Run a job; `then` gets its result or its error."""

        def do() -> None:
            try:
                result = job()
            except OSError as error:
                problem = error
                self._call_owner(lambda: then(None, problem))
            except BaseException as bug:
                defect = bug
                self._call_owner(lambda: _raise(defect))
            else:
                self._call_owner(lambda: then(result, None))

        self._jobs.put(do)

    def stop(self) -> None:
        """Finish all queued jobs, and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


class Batcher(Generic[Item, Result]):
    """Collects items into batches; a batch is what was added since the previous one started.

    `work(items)` runs on the worker, `done(items, result, error)` on the owner's thread.  `soon(call)` calls after the
    owner has handled everything that has already arrived, so that it forms one batch.  A batch has at most `limit`
    items.
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
        """True if nothing waits and nothing runs."""
        return not self._waiting and not self.running

    @property
    def waiting(self) -> int:
        """Count the items that wait for the running batch."""
        return len(self._waiting)

    def add(self, item: Item) -> None:
        """Add an item to the next batch."""
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
