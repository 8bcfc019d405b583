"""What packet connections share, on an event loop and on a selector: reading, and the end.

A channel never blocks.  It reads a burst of packets at a time, so that one busy peer does not starve the others.
Fails: never; a broken connection is closed.
"""

import socket

from eqmail_core.ipc.background_close import close_aside
from eqmail_core.ipc.packet_socket import enlarge_send_buffer, receive_packet, refuse_descriptors

BURST = 64
"""Packets read per wake-up."""


class PacketChannel:
    """One connected SOCK_SEQPACKET socket.

    Without `takes_descriptors`, the connection to a peer that sends a descriptor is closed.
    """

    __slots__ = ("_holds_none", "_takes_descriptors", "closed", "sock")

    def __init__(self, sock: socket.socket, takes_descriptors: bool) -> None:
        sock.setblocking(False)
        enlarge_send_buffer(sock)
        self.sock = sock
        self.closed = False
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
            if self.closed or not self._may_read():
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

    def _may_read(self) -> bool:
        """Whether packets are wanted now."""
        raise NotImplementedError

    def _deliver(self, data: bytes, fd: int) -> None:
        """Pass on a packet and its descriptor, which the receiver owns; -1 for none."""
        raise NotImplementedError

    def _stop(self) -> None:
        """Watch the socket no more, and drop waiting packets."""
        raise NotImplementedError

    def _ended(self) -> None:
        """Report the end, if anybody waits for it."""
