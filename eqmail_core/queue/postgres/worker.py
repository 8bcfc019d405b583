"""One connection with the thread that waits for its answers.

Fails: the owner gets the DatabaseError of a job; anything else is a bug, raised in the owner's thread.
"""

from collections.abc import Callable
from typing import TypeVar

from eqmail_core.event_loop.worker_thread import Call, WorkerThread
from eqmail_core.queue.postgres.connection import ANSWER_TIMEOUT_S, DatabaseConnection
from eqmail_core.queue.postgres.database import NodeIdentity, QueueDatabase

Result = TypeVar("Result")
Later = Callable[[float, Call], object]


class DatabaseWorker:
    """Runs jobs on one connection, one after the other; `later` calls on the owner's thread after some seconds.

    A job without an answer after ANSWER_TIMEOUT_S has its connection cut, and ends as CommitUnknown.
    """

    def __init__(
        self, name: str, conninfo: str, identity: NodeIdentity, call_owner: Callable[[Call], object], later: Later
    ) -> None:
        self.database = QueueDatabase(DatabaseConnection(conninfo, name), identity)
        self.jobs = 0
        self._later = later
        self._thread = WorkerThread(name, call_owner)
        self._ended = 0

    def run(self, job: Callable[[], Result], then: Callable[[Result | None, OSError | None], None]) -> None:
        """Run a job; `then` gets its result or its error."""
        self.jobs += 1

        def ended(result: Result | None, error: OSError | None) -> None:
            self.jobs -= 1
            self._ended += 1
            if self.jobs:
                self._watch()
            then(result, error)

        if self.jobs == 1:
            self._watch()
        self._thread.run(job, ended)

    def stop(self) -> None:
        """End the thread after its jobs, and the connection."""
        self.database.connection.expire()
        self._thread.stop()
        self.database.connection.close()

    def _watch(self) -> None:
        """Cut the connection if the job that begins now is still running after the time-out."""
        count = self._ended

        def look() -> None:
            if self.jobs and self._ended == count:
                self.database.connection.expire()

        self._later(ANSWER_TIMEOUT_S, look)
