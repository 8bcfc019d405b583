"""When a host that times out is left alone for a while; pure, over the entries of the table.

Source: queue.md 3.9 (tcpto.c).
"""

from eqmail_core.remote.tcpto_table import TcptoEntry

HOLD_S = 2
"""Failures in a row before a host is skipped."""

MAX_COUNT = 10
BURST_S = 120
"""Failures within so many seconds count once, so that concurrent deliveries do not add up."""


def is_to_skip(entries: list[TcptoEntry], af: int, ip: bytes, now: float, pid: int) -> bool:
    """Tell whether a host is to be left alone now; for about an hour, spread by the process number.

    A time in the future, from before the clock was set back, leaves nobody alone.
    """
    place = _row_of(entries, af, ip)
    if place < 0:
        return False
    entry = entries[place]
    return entry.count >= HOLD_S and entry.when <= now + 1 and now - entry.when < (60 + (pid & 31)) * 64


def after_attempt(
    entries: list[TcptoEntry], af: int, ip: bytes, now: float, failed: bool
) -> tuple[int, TcptoEntry] | None:
    """What becomes of the table after an attempt: the place and its new entry, None where nothing changes.

    A new host takes a free place, else that of the host which has been quiet for longest.
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
