"""Taking the connections of a listening socket on an event loop; a lack of descriptors or memory passes.

Fails: never; a connection that cannot be taken waits in the kernel.
"""

import asyncio
import socket
from collections.abc import Callable

from eqmail_core.text.error_text import error_text

RETRY_S = 1.0
"""Pause after a connection could not be taken, in seconds."""

WRITE_LOG_S = 60.0
"""Time between two complaints, in seconds."""


class LoopListener:
    """Gives each connection of `listener` to `take`; `complain` is told, once a minute, why none can be taken.

    An error of one connection (it was broken before it was taken) is nobody's business.  After any other it pauses: the
    listener stays readable, and would be looked at without end.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        take: Callable[[socket.socket], None],
        write_log: Callable[[str], None],
    ) -> None:
        listener.setblocking(False)
        self._loop = loop
        self._listener = listener
        self._take = take
        self._write_log = write_log
        self._silent_until = 0.0
        self._pause: asyncio.TimerHandle | None = None
        self._listen()

    def close(self) -> None:
        """Take no more connections; the listener stays open."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener.fileno())

    def _listen(self) -> None:
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        except OSError as error:
            self._loop.remove_reader(self._listener.fileno())
            self._pause = self._loop.call_later(RETRY_S, self._listen)
            if self._loop.time() >= self._silent_until:
                self._silent_until = self._loop.time() + WRITE_LOG_S
                self._write_log(f"warning: cannot accept connections for now: {error_text(error.errno).decode()}")
            return
        self._take(sock)
