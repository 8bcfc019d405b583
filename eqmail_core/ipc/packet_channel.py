"""What packet connections share, on an event loop and on a selector: reading, and the end.

A channel never blocks.  It reads a burst of packets at a time, so that one busy peer does not starve the others.
Fails: never; a broken connection is closed.
"""

import socket
from collections.abc import Callable

from eqmail_core.ipc.background_close import close_aside
from eqmail_core.ipc.packet_socket import enlarge_send_buffer, receive_packet, refuse_descriptors

BURST = 64
"""Packets read per wake-up."""


class PacketChannel:
    """One connected SOCK_SEQPACKET socket.

    Without `takes_descriptors`, the connection to a peer that sends a descriptor is closed.  `deliver(data, fd)` gets
    each packet and its descriptor (-1: none), which it owns.  `_is_reading`: packets are wanted now.
    """

    __slots__ = ("_deliver", "_holds_none", "_is_reading", "_takes_descriptors", "closed", "sock")

    def __init__(self, sock: socket.socket, deliver: Callable[[bytes, int], None], takes_descriptors: bool) -> None:
        sock.setblocking(False)
        enlarge_send_buffer(sock)
        self.sock = sock
        self.closed = False
        self._deliver = deliver
        self._is_reading = True
        self._takes_descriptors = takes_descriptors
        self._holds_none = not takes_descriptors and refuse_descriptors(sock)

    def close(self) -> None:
        """Close the connection; waiting packets are dropped."""
        self._close(is_over=False)

    def _close(self, is_over: bool) -> None:
        """Close once; `is_over`: the peer has disconnected, and all its packets were read."""
        if self.closed:
            return
        self.closed = True
        self._stop()
        if is_over or self._holds_none:
            self.sock.close()
        else:
            close_aside(self.sock.detach())
        self._ended()

    def _receive(self) -> None:
        """Read a burst of packets."""
        for _ in range(BURST):
            if self.closed or not self._is_reading:
                return
            try:
                data, fd = receive_packet(self.sock)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            if fd >= 0 and not (data and self._takes_descriptors):
                close_aside(fd)
                self.close()
                return
            if not data:
                self._close(is_over=True)
                return
            self._deliver(data, fd)

    # --- what differs

    def _stop(self) -> None:
        """Watch the socket no more, and drop waiting packets."""
        raise NotImplementedError

    def _ended(self) -> None:
        """Report the end, if anybody waits for it."""
