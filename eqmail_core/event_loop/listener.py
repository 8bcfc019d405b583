"""A listening Unix socket on a selector: accepts certain users, and pauses in shortages.

Without descriptors or memory for another connection, a listening socket stays readable.  It is then ignored for a
second, and clients wait in its backlog.

Fails: never.
"""

import selectors
import socket
import time
from collections.abc import Callable, Set

from eqmail_core.ipc.background_close import close_aside
from eqmail_core.ipc.packet_socket import peer_credentials
from eqmail_core.system.repeated_lines import say_seldom

PAUSE_S = 1.0


class Listener:
    """Passes connections of users in `allowed_uids` to `on_connection(sock)`; closes all others.

    Call `expire` regularly.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        sock: socket.socket,
        allowed_uids: Set[int],
        on_connection: Callable[[socket.socket], None],
        name: str,
    ) -> None:
        sock.setblocking(False)
        self._selector = selector
        self._sock = sock
        self._allowed_uids = allowed_uids
        self._on_connection = on_connection
        self._name = name
        self._paused_until = 0.0
        self._is_paused = False
        selector.register(sock, selectors.EVENT_READ, self._accept)

    def expire(self) -> None:
        """Listen again after a pause."""
        if self._is_paused and time.monotonic() >= self._paused_until:
            self._is_paused = False
            self._selector.register(self._sock, selectors.EVENT_READ, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            sock, _ = self._sock.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            self._pause(error)
            return
        try:
            is_allowed = peer_credentials(sock).uid in self._allowed_uids
        except OSError:
            is_allowed = False
        if is_allowed:
            self._on_connection(sock)
        else:
            close_aside(sock.detach())

    def _pause(self, error: OSError) -> None:
        say_seldom(self._name, f"alert: cannot take a connection: {error.strerror}; trying again in {PAUSE_S:g} s")
        self._selector.unregister(self._sock)
        self._is_paused = True
        self._paused_until = time.monotonic() + PAUSE_S
