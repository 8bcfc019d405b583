"""A packet connection between two services on an event loop; it never blocks.

Each packet carries at most one descriptor. Packets that cannot be sent now wait in memory, in order.
A caller that must bound its memory checks how many are `pending`.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable

from eqmail_core.ipc.packet_channel import PacketChannel
from eqmail_core.ipc.packet_socket import send_packet


class AsyncChannel(PacketChannel):
    """One connected SOCK_SEQPACKET socket.

    `pending`: packets that wait to be sent, each with its descriptor.
    `on_packet(data, fd)` owns the descriptor that it gets (-1: none).
    `on_close()` is called once, after the peer disconnected or `close` was called.
    `on_drained()` is called whenever all waiting packets have been sent.
    Without `takes_descriptors`, the connection to a peer that sends a descriptor is closed.
    Fails: never; a broken connection leads to `on_close`.
    """

    __slots__ = (
        "_loop",
        "_on_close",
        "_on_drained",
        "pending",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_packet: Callable[[bytes, int], None],
        on_close: Callable[[], None],
        on_drained: Callable[[], None] | None = None,
        takes_descriptors: bool = False,
    ) -> None:
        super().__init__(sock, on_packet, takes_descriptors)
        self._loop = loop
        self._on_close = on_close
        self._on_drained = on_drained
        self.pending: deque[tuple[bytes, int]] = deque()
        loop.add_reader(sock.fileno(), self._receive)

    def send(self, data: bytes, fd: int = -1) -> None:
        """Send a packet; the caller keeps the descriptor, of which a waiting packet has a duplicate."""
        if self.closed:
            return
        if not self.pending:
            try:
                send_packet(self.sock, data, fd)
                return
            except BlockingIOError:
                self._loop.add_writer(self.sock.fileno(), self._writable)
            except OSError:
                self.close()
                return
        self.pending.append((data, os.dup(fd) if fd >= 0 else -1))

    def pause(self) -> None:
        """Read no more packets until `resume`."""
        if not self.closed:
            self._is_reading = False
            self._loop.remove_reader(self.sock.fileno())

    def resume(self) -> None:
        """Read packets again."""
        if not self.closed:
            self._is_reading = True
            self._loop.add_reader(self.sock.fileno(), self._receive)

    def _stop(self) -> None:
        self._loop.remove_reader(self.sock.fileno())
        if self.pending:
            self._loop.remove_writer(self.sock.fileno())
        for _, fd in self.pending:
            if fd >= 0:
                os.close(fd)
        self.pending.clear()

    def _ended(self) -> None:
        self._on_close()

    def _writable(self) -> None:
        while self.pending:
            data, fd = self.pending[0]
            try:
                send_packet(self.sock, data, fd)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            self.pending.popleft()
            if fd >= 0:
                os.close(fd)
        self._loop.remove_writer(self.sock.fileno())
        if self._on_drained is not None:
            self._on_drained()
