"""The tcpto table of remote hosts that recently timed out: fixed records, in three layouts.

eQmail writes its C struct, so its records differ between 64-bit and 32-bit machines; (net)qmail knows IPv4 only.
The size of the whole table determines its layout.

Source: queue.md 3.9.
"""

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


# Address families as in eQmail's records (Linux).
INET = 2
INET6 = 10

_ADDRESS_SIZE = {INET: 4, INET6: 16}


class TcptoEntry:
    """One host: its timeouts (0 to 10, 0: free place), and the time of the last (epoch)."""

    __slots__ = ("af", "count", "ip", "when")

    def __init__(self, af: int, count: int, when: int, ip: bytes) -> None:
        self.af = af
        self.count = count
        self.when = when
        self.ip = ip

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TcptoEntry) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Entry({self.af}, {self.count}, {self.when}, {self.ip!r})"

    def _key(self) -> tuple[int, int, int, bytes]:
        return self.af, self.count, self.when, self.ip


class StructRecords:
    """eQmail's records: family, count, time as an unsigned long, address in 16 bytes."""

    def __init__(self, layout: str) -> None:
        self._struct = Struct(layout)
        self.size = self._struct.size
        self.families: tuple[int, ...] = (INET, INET6)

    def parse(self, record: bytes) -> TcptoEntry:
        """Parse one record."""
        af, count, when, address = self._struct.unpack(record)
        return TcptoEntry(af, count, when, address[: _ADDRESS_SIZE.get(af, 16)])

    def render(self, entry: TcptoEntry) -> bytes:
        """Build the record of one entry."""
        return self._struct.pack(entry.af, entry.count, entry.when, entry.ip)


class QmailRecords:
    """(net)qmail's records: IPv4 address, count, time in the bytes 8 to 11, little-endian."""

    def __init__(self) -> None:
        self._struct = Struct("<4sB3xL4x")
        self.size = self._struct.size
        self.families: tuple[int, ...] = (INET,)

    def parse(self, record: bytes) -> TcptoEntry:
        """Parse one record."""
        ip, count, when = self._struct.unpack(record)
        return TcptoEntry(INET, count, when, ip)

    def render(self, entry: TcptoEntry) -> bytes:
        """Build the record of one entry."""
        return self._struct.pack(entry.ip, entry.count, entry.when & 0xFFFFFFFF)


Records = StructRecords | QmailRecords

EQMAIL_64 = StructRecords("=BB6xQ16s")
EQMAIL_32 = StructRecords("=BB2xL16s")
QMAIL = QmailRecords()

_BY_TABLE_SIZE: dict[int, Records] = {64 * records.size: records for records in (EQMAIL_64, EQMAIL_32, QMAIL)}


def records_of(table: bytes) -> Records:
    """Return the layout of a table, from its size; 64-bit eQmail's where the size is ambiguous."""
    return _BY_TABLE_SIZE.get(len(table), EQMAIL_64)


def parse_table(table: bytes) -> list[TcptoEntry]:
    """Parse every entry, free places included; an incomplete record at the end is dropped."""
    records = records_of(table)
    return [records.parse(record) for record in _cut(table, records.size)]


def _cut(table: bytes, size: int) -> "Iterator[bytes]":
    return (table[start : start + size] for start in range(0, len(table) - size + 1, size))


MIN_FAILURES = 2
"""Number of consecutive failures before a host is skipped."""

MAX_COUNT = 10
BURST_S = 120
"""Failures within this many seconds count once, so that concurrent deliveries do not add up."""


def is_to_skip(entries: list[TcptoEntry], af: int, ip: bytes, now: float, pid: int) -> bool:
    """Whether to skip a host now; for about an hour, spread by the process number.

    A time in the future, from before the clock was set back, skips no host.
    """
    place = _row_of(entries, af, ip)
    if place < 0:
        return False
    entry = entries[place]
    return entry.count >= MIN_FAILURES and entry.when <= now + 1 and now - entry.when < (60 + (pid & 31)) * 64


def after_attempt(
    entries: list[TcptoEntry], af: int, ip: bytes, now: float, failed: bool
) -> tuple[int, TcptoEntry] | None:
    """Return the place and entry that an attempt changes, or None if nothing changes.

    A new host takes a free place, else that of the host with the oldest last timeout.
    For this comparison, each counted timeout makes the last one 1024 s later.
    """
    place = _row_of(entries, af, ip)
    if place >= 0:
        entry = entries[place]
        if not failed:
            return (place, TcptoEntry(af, 0, entry.when, ip)) if entry.count else None
        if entry.count and entry.when <= now + 1 and now < entry.when + BURST_S:
            return None
        return place, TcptoEntry(af, min(entry.count + 1, MAX_COUNT), int(now), ip)
    if not failed or not entries:
        return None
    places = range(len(entries))
    free = next((i for i in places if entries[i].count == 0), None)
    if free is None:
        free = min(places, key=lambda i: min(entries[i].when, now) + entries[i].count * 1024)
    return free, TcptoEntry(af, 1, int(now), ip)


def _row_of(entries: list[TcptoEntry], af: int, ip: bytes) -> int:
    return next((i for i, entry in enumerate(entries) if entry.ip == ip and entry.af == af), -1)
