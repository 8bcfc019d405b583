"""The table of slow hosts as deliveries use it: looked at before a connection is tried, told how the attempt went.

The file is read again only when it has changed, and written only where there is something to change: a host that
works and was not in the table costs one stat.

Source: queue.md 3.9.
"""

import os
import time

from eqmail_core.remote.tcpto import TcptoFile
from eqmail_core.remote.tcpto_policy import is_to_skip
from eqmail_core.smtp.connect import counts_as_timeout, packed_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.remote.tcpto_table import TcptoEntry


class TcptoCache:
    """The table at `path`; without a usable file nothing is skipped and nothing remembered."""

    def __init__(self, path: str) -> None:
        self._file = TcptoFile(path)
        self._fingerprint = (-1, -1)
        self._entries: list[TcptoEntry] = []

    def clear(self) -> None:
        """Forget all hosts, as the spawner does when it starts."""
        try:
            self._file.clear()
        except OSError:
            pass

    def should_skip(self, ip: str, chance: int) -> bool:
        """Tell whether a host is to be left alone now; `chance` spreads the attempts of many deliveries."""
        self._reload()
        if not self._entries:
            return False
        packed, family = packed_address(ip)
        return is_to_skip(self._entries, family, packed, time.time(), chance)

    def record_success(self, ip: str) -> None:
        """A connection was made."""
        if self._entries:
            packed, family = packed_address(ip)
            if any(it.af == family and it.ip == packed for it in self._entries):
                self._file.record(packed, family, time.time(), False)

    def record_failure(self, ip: str, error: int) -> None:
        """No connection could be made; `error` is the system's number."""
        if counts_as_timeout(error):
            packed, family = packed_address(ip)
            self._file.record(packed, family, time.time(), True)

    def _reload(self) -> None:
        try:
            found = os.stat(self._file.path)
            fingerprint = (found.st_mtime_ns, found.st_ino)
            if fingerprint != self._fingerprint:
                self._entries = [entry for entry in self._file.entries() if entry.count]
                self._fingerprint = fingerprint
        except OSError:
            self._entries = []
