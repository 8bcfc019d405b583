"""Numbers for new messages, taken from the database in blocks before they are needed.

Fails: OSError while the database gives none.
"""

from collections import deque
from collections.abc import Callable

from eqmail_core.queue.postgres.database import BLOCK
from eqmail_core.queue.postgres.worker import DatabaseWorker


class NumberSupply:
    """The unused numbers of this node; `may_take()`: whether its lease lasts."""

    def __init__(self, worker: DatabaseWorker, may_take: Callable[[], bool]) -> None:
        self._worker = worker
        self._may_take = may_take
        self._free: deque[int] = deque()
        self._is_filling = False

    @property
    def count(self) -> int:
        """Count the numbers that are at hand."""
        return len(self._free)

    def take(self) -> int:
        """Return a number, and get more in time.  Fails: OSError while the database gives none."""
        if len(self._free) < BLOCK // 2:
            self.fill()
        if not self._free or not self._may_take():
            raise OSError("the database of the queue does not answer")
        return self._free.popleft()

    def fill(self) -> None:
        """Ask for a block of numbers, unless one is on its way."""
        if self._is_filling or not self._may_take():
            return
        self._is_filling = True
        self._worker.run(self._worker.database.take_numbers, self._filled)

    def _filled(self, numbers: range | None, error: OSError | None) -> None:
        self._is_filling = False
        self._free.extend(numbers or ())
