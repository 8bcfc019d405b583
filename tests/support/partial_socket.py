"""A socket that takes few bytes at a time, and none every other time."""

import socket
from typing import Any


class PartialSocket(socket.socket):
    """Takes over `sock`; `send` takes at most `size` bytes.  Counts what it took in part, and what it refused."""

    def __init__(self, sock: socket.socket, size: int) -> None:
        super().__init__(sock.family, sock.type, sock.proto, sock.detach())
        self.setblocking(False)
        self.size = size
        self.partial = 0
        self.refused = 0
        self._refuses = False

    def send(self, data: Any, flags: int = 0) -> int:
        """Send the first bytes, or raise BlockingIOError."""
        self._refuses = not self._refuses
        if self._refuses:
            self.refused += 1
            raise BlockingIOError
        self.partial += len(data) > self.size
        return super().send(bytes(data)[: self.size], flags)
