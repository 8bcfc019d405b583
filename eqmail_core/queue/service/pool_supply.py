"""Numbers for new messages, from the pool, which is filled before it is empty.

Fails: OSError where there is none.
"""

from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.service.file_writer import FileWriter
from eqmail_core.queue.service.number_pool import NumberPool
from eqmail_core.site.layout import QueuePaths

POOL_LOW = 96
POOL_BATCH = 192


class PoolSupply:
    """The numbers of one queue; new ones are made in the thread of `files`, until `stop`."""

    def __init__(self, disk: FileSystem, paths: QueuePaths, pool: NumberPool, files: FileWriter) -> None:
        self._disk = disk
        self._paths = paths
        self._pool = pool
        self._files = files
        self._is_filling = self._is_stopped = False

    def take(self) -> int:
        """Return a number for a new message.  Fails: OSError when there is none."""
        if self._pool.free < POOL_LOW and not self._is_filling and not self._is_stopped:
            self._is_filling = True
            self._files.run(lambda: self._pool.make(POOL_BATCH), self._filled)
        return self._pool.take()

    def release(self, number: int, is_written: bool) -> None:
        """Return an unused number to the pool; its file may have been written to."""
        path = self._pool.path(number)
        if path is None:
            return
        if is_written:
            try:
                self._disk.make_empty(path)
            except OSError:
                pass
        self._pool.recycle(number)

    def path(self, number: int) -> str:
        """Return the path of a number that was taken, or of mess/N."""
        return self._pool.path(number) or self._paths.mess(number)

    def stop(self) -> None:
        """Make no more numbers."""
        self._is_stopped = True

    def _filled(self, made: object, error: OSError | None) -> None:
        self._is_filling = False
        if isinstance(made, list):
            self._pool.add(made)
