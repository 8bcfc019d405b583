"""The format of run/status: one line per service process, fields separated by tabs.

Fails: ValueError for a text that is no such record.
"""

FILE = "status"
"""Name of the record in the folder of the sockets."""

READY, STARTING, DOWN = "ready", "starting", "down"

_FIELDS = 7
_PLAIN = dict.fromkeys(range(32), " ")


class ServiceStatus:
    """One process: `state` since `since`; it has ended `ends` times, last at `ended_at`.

    `reason` explains the last end.  Times in seconds since the epoch, 0 for never; `pid` is 0 while it is down.
    """

    __slots__ = ("ended_at", "ends", "name", "pid", "reason", "since", "state")

    def __init__(self, name: str, pid: int, state: str, since: int, ends: int, ended_at: int, reason: str) -> None:
        self.name = name
        self.pid = pid
        self.state = state
        self.since = since
        self.ends = ends
        self.ended_at = ended_at
        self.reason = reason


def render_status(services: list[ServiceStatus]) -> bytes:
    """Render the record of these services."""
    return "".join(
        f"{service.name}\t{service.pid}\t{service.state}\t{service.since}\t{service.ends}\t{service.ended_at}\t{service.reason.translate(_PLAIN)}\n"
        for service in services
    ).encode("utf-8", "surrogateescape")


def parse_status(text: bytes) -> list[ServiceStatus]:
    """Parse a record."""
    found = []
    for line in text.decode("utf-8", "surrogateescape").splitlines():
        fields = line.split("\t")
        if len(fields) != _FIELDS or fields[2] not in (READY, STARTING, DOWN):
            raise ValueError("is no record of services")
        name, pid, state, since, ends, ended_at, reason = fields
        found.append(ServiceStatus(name, int(pid), state, int(since), int(ends), int(ended_at), reason))
    return found
