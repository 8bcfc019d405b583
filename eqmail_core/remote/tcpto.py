"""The tcpto table as a file shared by many deliveries, each access under an exclusive lock.

`should_skip` and `record` never fail: without a usable file the feature is off, as mail must not wait for it.

Source: queue.md 3.9.
"""

import os
import time
from fcntl import LOCK_EX, flock

from eqmail_core.remote.tcpto_table import TcptoEntry, after_attempt, is_to_skip, parse_table, records_of
from eqmail_core.smtp.connect import counts_as_timeout, packed_address
from eqmail_core.system.files import fingerprint_of, read_all, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.remote.tcpto_table import TcptoEntry


class TcptoFile:
    """The table at `path`.

    It is opened for each access, so that it may be replaced or removed at any time.  `ip`: address in network order, 4
    or 16 bytes; `af`: its family (2 or 10); `now`: seconds since the epoch.
    """

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def should_skip(self, ip: bytes, af: int, now: float, pid: int) -> bool:
        """Whether the host recently timed out so often that it must be skipped now."""
        try:
            return is_to_skip(self.entries(), af, ip, now, pid)
        except OSError:
            return False

    def record(self, ip: bytes, af: int, now: float, failed: bool) -> None:
        """Record that the host timed out, or that it works again."""
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
        """Return every place of the table, free ones included.

        Fails: OSError.
        """
        fd = self._open(os.O_RDONLY)
        try:
            return parse_table(read_all(fd))
        finally:
            os.close(fd)

    def clear(self) -> None:
        """Remove all hosts; the size of the table stays.

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


class TcptoCache:
    """The table at `path`; without a usable file nothing is skipped and nothing recorded."""

    def __init__(self, path: str) -> None:
        self._file = TcptoFile(path)
        self._fingerprint = (-1, -1, -1)
        self._entries: list[TcptoEntry] = []

    def clear(self) -> None:
        """Remove all hosts, as the spawner does when it starts."""
        try:
            self._file.clear()
        except OSError:
            pass

    def should_skip(self, ip: str, chance: int) -> bool:
        """Whether to skip a host now; `chance` spreads the attempts of many deliveries."""
        self._reload()
        if not self._entries:
            return False
        packed, family = packed_address(ip)
        return is_to_skip(self._entries, family, packed, time.time(), chance)

    def record_success(self, ip: str) -> None:
        """Record a successful connection."""
        if self._entries:
            packed, family = packed_address(ip)
            if any(it.af == family and it.ip == packed for it in self._entries):
                self._file.record(packed, family, time.time(), False)

    def record_failure(self, ip: str, error: int) -> None:
        """Record a failed connection; `error` is the errno."""
        if counts_as_timeout(error):
            packed, family = packed_address(ip)
            self._file.record(packed, family, time.time(), True)

    def _reload(self) -> None:
        try:
            fingerprint = fingerprint_of(os.stat(self._file.path))
            if fingerprint != self._fingerprint:
                self._entries = [entry for entry in self._file.entries() if entry.count]
                self._fingerprint = fingerprint
        except OSError:
            self._entries = []
