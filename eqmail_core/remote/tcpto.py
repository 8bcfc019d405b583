"""The table of slow hosts as a file that many deliveries share, each access under an exclusive lock.

`should_skip` and `record` never fail: without a usable file the feature is off, as mail must not wait for it.

Source: queue.md 3.9.
"""

import os
from fcntl import LOCK_EX, flock

from eqmail_core.remote.tcpto_policy import after_attempt, is_to_skip
from eqmail_core.remote.tcpto_table import TcptoEntry, parse_table, records_of
from eqmail_core.system.files import read_all, write_all


class TcptoFile:
    """The table at `path`; it is opened for each access, so that it may be replaced or removed at any time.

    `ip` is an address in network order, 4 or 16 bytes, `af` its family (2 or 10), `now` seconds since the epoch.
    """

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def should_skip(self, ip: bytes, af: int, now: float, pid: int) -> bool:
        """Tell whether the host timed out so often lately that it is to be left alone now."""
        try:
            return is_to_skip(self.entries(), af, ip, now, pid)
        except OSError:
            return False

    def record(self, ip: bytes, af: int, now: float, failed: bool) -> None:
        """Remember that the host timed out, or that it works again."""
        try:
            fd = self._open(os.O_RDWR)
        except OSError:
            return
        try:
            table = read_all(fd)
            records = records_of(table)
            change = after_attempt(parse_table(table), af, ip, now, failed) if af in records.families else None
            if change is not None:
                place, entry = change
                os.pwrite(fd, records.render(entry), place * records.size)
        except OSError:
            pass
        finally:
            os.close(fd)

    def entries(self) -> list[TcptoEntry]:
        """Every place of the table, free ones included.

        Fails: OSError.
        """
        fd = self._open(os.O_RDONLY)
        try:
            return parse_table(read_all(fd))
        finally:
            os.close(fd)

    def clear(self) -> None:
        """Forget all hosts; the size of the table stays.

        Fails: OSError.
        """
        fd = self._open(os.O_WRONLY)
        try:
            write_all(fd, bytes(os.fstat(fd).st_size))
        finally:
            os.close(fd)

    def _open(self, flags: int) -> int:
        fd = os.open(self.path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            flock(fd, LOCK_EX)
        except OSError:
            os.close(fd)
            raise
        return fd
