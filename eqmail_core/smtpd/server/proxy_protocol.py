"""Connections that a proxy makes for others: who the client is comes first, then everything is as without a proxy.

Source: proxy-protocol.txt (haproxy.org).
"""

import asyncio
from collections.abc import Callable

from eqmail_core.smtpd.protocol.proxy_header import BadProxyHeader, ProxyEndpoints, parse_proxy_header

TIMEOUT_S = 10.0
"""How long a proxy may take to say whose connection it is."""


class ProxyHeaderReader(asyncio.Protocol):
    """Reads what the proxy says; then the protocol that `welcome` makes takes over.

    A proxy that says nothing sensible, or nothing, is hung up on, as its protocol demands; `complain` tells the log,
    but not of one that only looks whether we are there.
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
        """Take the connection over from whom it was made for."""
        self._transport = transport
        self._timer = self._loop.call_later(TIMEOUT_S, self._hang_up)
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        """Look whether the header is complete."""
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
        """The proxy is gone before it said anything."""
        self._timer.cancel()
