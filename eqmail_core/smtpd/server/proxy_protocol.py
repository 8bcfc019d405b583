"""Connections from a proxy: the client's address comes first, then the session is as usual.

Source: proxy-protocol.txt (haproxy.org).
"""

import asyncio
from collections.abc import Callable

from eqmail_core.smtpd.protocol.proxy_header import BadProxyHeader, ProxyEndpoints, parse_proxy_header

TIMEOUT_S = 10.0
"""Maximum time for a proxy to send its header, in seconds."""


class ProxyHeaderReader(asyncio.Protocol):
    """Reads the PROXY header; then the protocol made by `welcome` takes over.

    An invalid or missing header closes the connection, as the PROXY protocol requires.  `write_log` logs that, except
    for a health check without input.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        welcome: Callable[[ProxyEndpoints | None], asyncio.Protocol],
        write_log: Callable[[], None],
    ) -> None:
        self._welcome = welcome
        self._write_log = write_log
        self._said = b""
        self._loop = loop

    def begin(self, transport: asyncio.Transport) -> None:
        """Take over the connection from its first protocol."""
        self._transport = transport
        self._timer = self._loop.call_later(TIMEOUT_S, self._hang_up)
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        """Process the header when it is complete."""
        self._said += data
        try:
            ends, length = parse_proxy_header(self._said)
        except BadProxyHeader:
            self._hang_up()
            return
        if not length:
            return
        self._timer.cancel()
        protocol = self._welcome(ends)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if len(self._said) > length:
            protocol.data_received(self._said[length:])

    def _hang_up(self) -> None:
        self._write_log()
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Stop when the proxy disconnects before its header is complete."""
        self._timer.cancel()
