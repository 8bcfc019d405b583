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
    """Passes connections of users in `welcome` to `on_connection(sock)`; closes all others.

    Call `tidy` regularly.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        sock: socket.socket,
        welcome: Set[int],
        on_connection: Callable[[socket.socket], None],
        name: str,
    ) -> None:
        sock.setblocking(False)
        self._selector = selector
        self._sock = sock
        self._welcome = welcome
        self._on_connection = on_connection
        self._name = name
        self._rests_until = 0.0
        self._is_resting = False
        selector.register(sock, selectors.EVENT_READ, self._accept)

    def tidy(self) -> None:
        """Listen again after a pause."""
        if self._is_resting and time.monotonic() >= self._rests_until:
            self._is_resting = False
            self._selector.register(self._sock, selectors.EVENT_READ, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            sock, _ = self._sock.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            self._rest(error)
            return
        try:
            is_welcome = peer_credentials(sock).uid in self._welcome
        except OSError:
            is_welcome = False
        if is_welcome:
            self._on_connection(sock)
        else:
            close_aside(sock.detach())

    def _rest(self, error: OSError) -> None:
        say_seldom(self._name, f"alert: cannot take a connection: {error.strerror}; trying again in {PAUSE_S:g} s")
        self._selector.unregister(self._sock)
        self._is_resting = True
        self._rests_until = time.monotonic() + PAUSE_S
