"""The client of the scheduler's control socket.

It reads state and counters, and requests changes.
Fails: OSError when the connection breaks or no answer comes for a minute; ValueError for a malformed answer.
Source: ipc/scheduler_control_protocol.py.
"""

from eqmail_core.ipc import scheduler_control_protocol as wire
from eqmail_core.ipc.packet_socket import connect_to, receive_packet, send_packet

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator

    from eqmail_core.ipc.scheduler_control_protocol import MemoryMessageRecord
    from eqmail_core.site.site import Site

TIMEOUT_S = 60.0
"""Longest wait for an answer."""


class SchedulerState:
    """What the scheduler knows better than the files.

    `memory` by number, `running`, `due` by channel and number.
    """

    __slots__ = ("due", "memory", "running")

    def __init__(self) -> None:
        self.memory: dict[int, MemoryMessageRecord] = {}
        self.running: set[int] = set()
        self.due: dict[str, dict[int, int]] = {"local": {}, "remote": {}}


class SchedulerClient:
    """A connection to the scheduler; each answer is read to its end before the next query."""

    def __init__(self, sock: "socket.socket") -> None:
        self._sock = sock

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def scheduler_state(self) -> SchedulerState:
        """Return all messages in memory, and all due times."""
        state = SchedulerState()
        last: MemoryMessageRecord | None = None
        for packet in self._ask(wire.LIST):
            kind = packet[:1]
            if kind == wire.MESSAGE:
                last = wire.split_message(packet)
                state.memory[last.number] = last
            elif kind == wire.RECIPIENTS and last is not None:
                last.recipients += wire.split_recipients(packet)
            elif kind == wire.OPEN:
                state.running.update(int(number) for number in wire.fields(packet))
            elif kind == wire.DUE:
                channel, times = wire.split_due(packet)
                state.due[channel].update(times)
        return state

    def counters(self) -> dict[str, int]:
        """Return the scheduler's counters by name."""
        return {
            name.decode(): int(value) for packet in self._ask(wire.STATS) for name, value in wire.split_pairs(packet)
        }

    def change(self, verb: bytes, targets: "Iterable[tuple[int, bytes]]") -> "Iterator[tuple[int, bytes]]":
        """Change messages, each a number and its stamp; yield number and result of each as they arrive."""
        batch: list[tuple[int, bytes]] = []
        for target in targets:
            batch.append(target)
            if len(batch) == wire.MAX_TARGETS:
                yield from self._change(verb, batch)
                batch = []
        if batch:
            yield from self._change(verb, batch)

    def _change(self, verb: bytes, batch: list[tuple[int, bytes]]) -> "Iterator[tuple[int, bytes]]":
        for packet in self._ask(wire.change_request(verb, batch)):
            for number, result in wire.split_pairs(packet):
                yield int(number), result

    def _ask(self, request: bytes) -> "Iterator[bytes]":
        send_packet(self._sock, request)
        while (packet := receive_packet(self._sock)[0]) != wire.END:
            if not packet:
                raise ConnectionAbortedError("the scheduler hung up")
            yield packet


def connect_to_scheduler(site: "Site") -> SchedulerClient | None:
    """Return a connection to the running scheduler; None if none runs.

    Fails: PermissionError when the caller is neither root nor the scheduler's account.
    """
    try:
        return SchedulerClient(connect_to(site.socket("send"), TIMEOUT_S))
    except (FileNotFoundError, ConnectionRefusedError):
        return None


def scheduler_state_if_allowed(site: "Site") -> SchedulerState | None:
    """Return the scheduler's state; None without permission to ask, or when no scheduler answers."""
    try:
        client = connect_to_scheduler(site)
        if client is None:
            return None
        try:
            return client.scheduler_state()
        finally:
            client.close()
    except (OSError, ValueError, KeyError, IndexError):
        return None
