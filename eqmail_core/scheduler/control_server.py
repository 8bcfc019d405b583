"""The control socket of the resident scheduler: one request after the other per client.

Answers stay in generators until the client has read the previous packets. Changes are made a few per turn of the loop.
So neither a large queue nor a slow client uses memory or delays deliveries.

Fails: never; a client that sends malformed packets is disconnected.
Source: ipc/scheduler_control_protocol.py.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

from eqmail_core.event_loop.async_listener import LoopListener
from eqmail_core.ipc import scheduler_control_protocol as wire
from eqmail_core.ipc.async_channel import AsyncChannel
from eqmail_core.ipc.packet_socket import hang_up, peer_credentials
from eqmail_core.scheduler.control import SchedulerControl
from eqmail_core.scheduler.ports import WorkerPort
from eqmail_core.system.kernel import sync_file_system
from eqmail_core.system.repeated_lines import say_seldom

# Packets on their way to a client before the next ones are made.
_AHEAD = 8
# Messages changed in one turn of the loop.
_PER_TURN = 25
_MAX_CONNECTIONS = 8


class ControlServer:
    """Accepts connections from root and from this process's account.

    `queue`: the folder of the queue.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        context: SchedulerControl,
        worker: WorkerPort,
        queue: str,
        on_change: Callable[[], None],
    ) -> None:
        self.loop = loop
        self.control = context
        self.worker = worker
        self.on_change = on_change
        self._queue = queue
        self._visits: set[_ControlConnection] = set()
        self._listener = LoopListener(loop, listener, self._accept, partial(say_seldom, "qmail-send"))

    def end(self) -> None:
        """Accept no more connections."""
        self._listener.close()
        for connection in list(self._visits):
            connection.channel.close()

    def spilled(self) -> None:
        """Flush the changes to the disk, so that they survive a power cut; slow."""
        try:
            fd = os.open(self._queue, os.O_RDONLY | os.O_CLOEXEC)
            try:
                sync_file_system(fd)
            finally:
                os.close(fd)
        except OSError:
            pass

    def _accept(self, sock: socket.socket) -> None:
        uid = peer_credentials(sock).uid
        if uid not in (0, os.geteuid()) or len(self._visits) >= _MAX_CONNECTIONS:
            hang_up(sock)
            return
        self._visits.add(_ControlConnection(self, sock, uid, self._visits.discard))


class _ControlConnection:
    """One connection: its waiting requests and the answer in progress."""

    def __init__(
        self, connections: ControlServer, sock: socket.socket, uid: int, on_end: Callable[["_ControlConnection"], None]
    ) -> None:
        self._control = connections
        self._uid = uid
        self._on_end = on_end
        self._requests: deque[bytes] = deque()
        self._answer: Iterator[bytes] | None = None
        self._targets: Iterator[tuple[bytes, int, bytes]] | None = None
        self._outstanding = 0
        self._has_entered = False
        self.channel = AsyncChannel(connections.loop, sock, self._packet, self._closed, self._continue)

    def _packet(self, packet: bytes, _fd: int) -> None:
        self._requests.append(packet)
        if len(self._requests) > _AHEAD:
            self.channel.close()
        else:
            self._continue()

    def _closed(self) -> None:
        """Finish the changes that have begun; drop further ones."""
        self._requests.clear()
        self._answer = self._targets = None
        if not self._outstanding:
            self._leave()
        self._on_end(self)

    def _leave(self) -> None:
        if self._has_entered:
            self._has_entered = False
            self._control.control.client_disconnected()

    def _continue(self) -> None:
        """Send as much of the answers as the client reads now."""
        while not self.channel.closed and len(self.channel.pending) < _AHEAD:
            if self._answer is not None:
                packet = next(self._answer, None)
                if packet is None:
                    self._answer, packet = None, wire.END
                self.channel.send(packet)
            elif self._targets is not None or self._outstanding or not self._requests:
                return
            else:
                self._begin(self._requests.popleft())

    def _begin(self, packet: bytes) -> None:
        context = self._control.control
        if packet == wire.LIST:
            self._answer = context.listing()
        elif packet == wire.STATS:
            self._answer = context.counters()
        else:
            try:
                verb, targets = wire.split_change(packet)
            except ValueError:
                self.channel.close()
                return
            if not self._has_entered:
                self._has_entered = True
                context.client_connected()
            self._targets = ((verb, number, stamp) for number, stamp in targets)
            self._change()

    def _change(self) -> None:
        """Make a few changes, then yield to the loop."""
        for _ in range(_PER_TURN):
            target = next(self._targets, None) if self._targets is not None else None
            if target is None:
                self._targets = None
                self._finish()
                break
            verb, number, stamp = target
            self._outstanding += 1
            self._control.control.change(verb, number, stamp, self._uid, partial(self._changed, number))
        else:
            self._control.loop.call_soon(self._change)
        self._control.on_change()

    def _changed(self, number: int, result: bytes) -> None:
        self._outstanding -= 1
        for packet in wire.pair_packets(wire.RESULTS, [(b"%d" % number, result)]):
            self.channel.send(packet)
        self._finish()

    def _finish(self) -> None:
        if self._targets is not None or self._outstanding:
            return
        if self.channel.closed:
            self._leave()
        else:
            self._outstanding = 1
            self._control.worker.do(self._control.spilled, self._finished)

    def _finished(self, nothing: None) -> None:
        self._outstanding = 0
        if self.channel.closed:
            self._leave()
        self.channel.send(wire.END)
        self._continue()
