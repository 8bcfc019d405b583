"""Accepts the connections of a listening socket on an event loop, and survives shortages.

Fails: never; a connection that cannot be accepted waits in the kernel.
"""

import asyncio
import socket
from collections.abc import Callable

from eqmail_core.text.error_text import error_text

RETRY_S = 1.0
"""Pause after a connection could not be accepted, in seconds."""

WRITE_LOG_S = 60.0
"""Time between two warnings, in seconds."""


class LoopListener:
    """Passes each connection of `listener` to `take`; `write_log` gets warnings, one a minute.

    An error of one connection, such as one that was closed early, is ignored.  After any other error it pauses, because
    the listener stays readable and would be polled without end.
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
        """Accept no more connections; the listener stays open."""
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
