"""A packet connection to another service on a selector; it never blocks.

Packets that cannot be sent now wait in order.
Fails: never; a broken connection is closed and drops further packets.
"""

import selectors
import socket
from collections import deque
from collections.abc import Callable
from functools import partial

from eqmail_core.ipc.packet_channel import PacketChannel

MAX_PENDING = 1000
"""Most packets that wait for the peer; while so many wait, its own packets are not read."""


class SelectorChannel(PacketChannel):
    """One connection.

    `on_packet(channel, data, fd)` owns the descriptor that it gets, -1 for none.
    Without `takes_descriptors`, the connection to a peer that sends a descriptor is closed.
    """

    __slots__ = (
        "_is_wanted",
        "_pending",
        "_selector",
    )

    def __init__(
        self,
        selector: selectors.BaseSelector,
        sock: socket.socket,
        on_packet: "Callable[[SelectorChannel, bytes, int], None]",
        takes_descriptors: bool = False,
    ) -> None:
        super().__init__(sock, partial(on_packet, self), takes_descriptors)
        self._selector = selector
        self._pending: deque[bytes] = deque()
        self._is_wanted = True
        selector.register(sock, selectors.EVENT_READ, self._ready)

    @property
    def is_drained(self) -> bool:
        """Return whether all packets have been sent."""
        return not self._pending

    def send(self, packet: bytes) -> None:
        """Send a packet, now or later."""
        if self.closed:
            return
        if not self._pending:
            try:
                self.sock.send(packet)
                return
            except BlockingIOError:
                pass
            except OSError:
                self.close()
                return
        self._pending.append(packet)
        if len(self._pending) in (1, MAX_PENDING):
            self._watch()

    def read(self, is_wanted: bool) -> None:
        """Start or stop reading packets."""
        if self._is_wanted != is_wanted and not self.closed:
            self._is_wanted = is_wanted
            self._watch()

    def _watch(self) -> None:
        self._is_reading = self._is_wanted and len(self._pending) < MAX_PENDING
        events = (selectors.EVENT_READ if self._is_reading else 0) | (selectors.EVENT_WRITE if self._pending else 0)
        if self.sock in self._selector.get_map():
            self._selector.unregister(self.sock)
        if events:
            self._selector.register(self.sock, events, self._ready)

    def _ready(self, events: int) -> None:
        if self.closed:
            return
        if events & selectors.EVENT_WRITE:
            self._send_pending()
        if events & selectors.EVENT_READ:
            self._receive()

    def _send_pending(self) -> None:
        while self._pending:
            try:
                self.sock.send(self._pending[0])
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            self._pending.popleft()
        self._watch()

    def _stop(self) -> None:
        self._pending.clear()
        if self.sock in self._selector.get_map():
            self._selector.unregister(self.sock)
