"""Counters per address in shared memory, for several processes together.

The parent creates `SharedCounters` before it forks, with one part for each process.  A process writes only to its own
part and reads all of them, so that no lock is needed.  The part of a dead process does not count.

The memory is a descriptor until a process begins with its part: only processes that keep the descriptor can write.

A part is a table with eight places for each residue of an address's hash.  Where all eight are taken, the other
processes do not see an address.  A limit may then be exceeded, but no address below it is ever refused.

Fails: OSError from the constructor, where there is no memory.
"""

import fcntl
import mmap
import os
from collections.abc import Iterator

_WORD = 8
_PLACES = 8
_SESSION_ROWS = 1024
_FAILURE_ROWS = 2048

# Words of a part: the process, all its sessions, then pairs of hash and value.
_PID, _TOTAL, _SESSIONS = 0, 1, 2
_FAILURES = _SESSIONS + 2 * _PLACES * _SESSION_ROWS
_WORDS = _FAILURES + 2 * _PLACES * _FAILURE_ROWS

_SECONDS = (1 << 32) - 1


class SharedCounters:
    """The shared memory, created by the parent or a single process.

    `fd` is for the processes that count.
    """

    def __init__(self, shares: int = 1) -> None:
        self._count = shares
        self.fd = -1
        self.fd = os.memfd_create("tally", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, shares * _WORDS * _WORD)
        # No process can shrink or grow the memory in use.
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)

    def counters_of(self, index: int = 0) -> "ProcessCounters":
        """Return the part of one process, which must call `begin` before it counts or reads."""
        return ProcessCounters(self, index)

    def all_counters(self) -> "list[ProcessCounters]":
        """Return the parts of all processes."""
        return [self.counters_of(index) for index in range(self._count)]

    def mapped(self) -> "list[memoryview[int]]":
        """Map the memory of every part, for a process that counts.  Fails: OSError."""
        words = memoryview(mmap.mmap(self.fd, self._count * _WORDS * _WORD)).cast("Q")
        return [words[index * _WORDS : (index + 1) * _WORDS] for index in range(self._count)]


class ProcessCounters:
    """One process's part of the counters, and its view of all parts."""

    def __init__(self, counters: SharedCounters, index: int) -> None:
        self.counters = counters
        self._index = index
        self._sessions: dict[bytes, int] = {}
        self._total = 0

    def begin(self) -> None:
        """Map the memory and clear this part, which a former process may have used.  Fails: OSError."""
        shares = self.counters.mapped()
        self._own = shares[self._index]
        self._others = [share for number, share in enumerate(shares) if number != self._index]
        self._own[_PID] = 0
        for at in range(_TOTAL, _WORDS):
            if self._own[at]:
                self._own[at] = 0
        self._own[_PID] = os.getpid()

    # --- sessions

    def enter(self, address: bytes) -> None:
        """Count one session more of an address."""
        self._count(address, 1)

    def leave(self, address: bytes) -> None:
        """Count one session less of an address."""
        self._count(address, -1)

    @property
    def total(self) -> int:
        """Return the number of sessions of all processes."""
        return self._total + sum(share[_TOTAL] for share in self._live_processes())

    def sessions_of(self, address: bytes) -> int:
        """Return the number of sessions of one address, in all processes."""
        key, row = _find_row(address, _SESSIONS, _SESSION_ROWS)
        return self._sessions.get(address, 0) + sum(_value(share, row, key) for share in self._live_processes())

    def _count(self, address: bytes, change: int) -> None:
        count = self._sessions.get(address, 0) + change
        if count > 0:
            self._sessions[address] = count
        else:
            self._sessions.pop(address, None)
        self._total += change
        self._own[_TOTAL] = self._total
        key, row = _find_row(address, _SESSIONS, _SESSION_ROWS)
        _set(self._own, row, key, max(count, 0))

    # --- failures: a value is their number, and the second of the first

    def note_failure(self, address: bytes, now: int, window_s: int) -> None:
        """Count a failure of an address at `now`, in monotonic seconds; it expires after `window_s`."""
        key, row = _find_row(address, _FAILURES, _FAILURE_ROWS)
        number, since = _failures(_value(self._own, row, key))
        if not number or now - since > window_s:
            number, since = 0, now
        _set(self._own, row, key, (number + 1) << 32 | since & _SECONDS)

    def failures_of(self, address: bytes, now: int, window_s: int) -> int:
        """Return the failures of one address within the window, seen by all processes."""
        key, row = _find_row(address, _FAILURES, _FAILURE_ROWS)
        seen = [_failures(_value(share, row, key)) for share in (self._own, *self._live_processes())]
        return sum(number for number, since in seen if now - since <= window_s)

    def _live_processes(self) -> "Iterator[memoryview[int]]":
        """Yield the parts of the other live processes."""
        for counters in self._others:
            if counters[_PID] and _is_there(counters[_PID]):
                yield counters


def _find_row(address: bytes, start: int, rows: int) -> tuple[int, int]:
    """Return the hash of an address and the start of its row.

    Equal in all children of a process.
    """
    key = hash(address) & 0xFFFF_FFFF_FFFF_FFFF or 1
    return key, start + 2 * _PLACES * (key % rows)


def _value(counters: "memoryview[int]", row: int, key: int) -> int:
    for at in range(row, row + 2 * _PLACES, 2):
        if counters[at] == key:
            return counters[at + 1]
    return 0


def _set(counters: "memoryview[int]", row: int, key: int, value: int) -> None:
    """Set the value of an entry; a new one takes a free place, or that of the oldest failures."""
    places = range(row, row + 2 * _PLACES, 2)
    for at in places:
        if counters[at] == key:
            counters[at + 1] = value
            return
    if not value:
        return
    at = next((at for at in places if not counters[at + 1]), -1)
    if at < 0 and row >= _FAILURES:
        at = min(places, key=lambda place: counters[place + 1] & _SECONDS)
    if at >= 0:
        # The value is cleared first, so that no reader sees that of another address.
        counters[at + 1] = 0
        counters[at] = key
        counters[at + 1] = value


def _failures(value: int) -> tuple[int, int]:
    return value >> 32, value & _SECONDS


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
