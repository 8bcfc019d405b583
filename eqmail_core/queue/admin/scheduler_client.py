"""Asking the running scheduler, from programs: what it has in memory, when things are due; and telling it what to do.

Fails: OSError when the connection breaks or nothing comes for a minute; ValueError when the answer makes no sense.
Source: protocols.control_wire.
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
"""How long an answer may be in coming."""


class SchedulerState:
    """What the scheduler knows better than the files: `memory` by number, `running`, `due` by channel and number."""

    __slots__ = ("due", "memory", "running")

    def __init__(self) -> None:
        self.memory: dict[int, MemoryMessageRecord] = {}
        self.running: set[int] = set()
        self.due: dict[str, dict[int, int]] = {"local": {}, "remote": {}}


class SchedulerClient:
    """A connection to the scheduler; one answer is read to its end before the next question."""

    def __init__(self, sock: "socket.socket") -> None:
        self._sock = sock

    def close(self) -> None:
        """Leave."""
        self._sock.close()

    def scheduler_state(self) -> SchedulerState:
        """Everything in memory, and all due times."""
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
        """The scheduler's counters by name."""
        return {
            name.decode(): int(value) for packet in self._ask(wire.STATS) for name, value in wire.split_pairs(packet)
        }

    def change(self, verb: bytes, targets: "Iterable[tuple[int, bytes]]") -> "Iterator[tuple[int, bytes]]":
        """Change messages, each a number and its stamp; number and result of each, as they come."""
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
    """A connection to the running scheduler; None where none runs.

    Fails: PermissionError when the caller is neither root nor the scheduler's account.
    """
    try:
        return SchedulerClient(connect_to(site.socket("send"), TIMEOUT_S))
    except (FileNotFoundError, ConnectionRefusedError):
        return None


def scheduler_state_if_allowed(site: "Site") -> SchedulerState | None:
    """The scheduler's books for those who may ask; None for others, or where nobody answers."""
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
