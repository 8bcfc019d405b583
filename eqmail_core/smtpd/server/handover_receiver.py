"""Clients of the resident SMTP service that were handed over by qmail-smtpd.

Each client is served as its program would have served it: with its environment and its password checker.  The log goes
to the program's standard error.  The client counts as a session; where a limit is reached, the program serves it.

Fails: never; on a protocol error the connection is closed, and the program serves its client itself.
Source: ipc/handover_protocol.py; docs/adr/0010-handing-over-connections.md.
"""

import asyncio
import os
import socket
from functools import partial
from typing import cast

from eqmail_core.event_loop.async_listener import LoopListener
from eqmail_core.ipc import handover_protocol as wire
from eqmail_core.ipc.async_channel import AsyncChannel
from eqmail_core.ipc.background_close import close_aside
from eqmail_core.ipc.packet_socket import peer_credentials
from eqmail_core.smtpd.server.async_session import AsyncSmtpSession
from eqmail_core.smtpd.server.config import SessionConfig, handed_over_session_config
from eqmail_core.smtpd.server.context import ServerContext
from eqmail_core.system.repeated_lines import say_seldom
from eqmail_core.text.listen_address import ListenerRole

# Maximum number of log lines buffered for a program; further ones are dropped to bound memory.
_MAX_LINES = 1000


class HandoverListener:
    """Accepts programs with their clients on `listener`, from the same account only."""

    def __init__(self, context: ServerContext, listener: socket.socket) -> None:
        self._context = context
        self._listener = LoopListener(context.loop, listener, self._accept, partial(say_seldom, "smtpd"))

    def close(self) -> None:
        """Accept no more clients."""
        self._listener.close()

    def _accept(self, sock: socket.socket) -> None:
        # Another account's client must not get this account's rights, nor could the service get those of root.
        if peer_credentials(sock).uid != os.geteuid():
            close_aside(sock.detach())
            return
        HandoverConnection(self._context, sock)


class HandoverConnection:
    """One program with its client."""

    def __init__(self, context: ServerContext, sock: socket.socket) -> None:
        self._context = context
        self._session: HandoverSession | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_over = False
        self._channel = AsyncChannel(
            context.loop, sock, self._packet, self._closed, self._drained, takes_descriptors=True
        )
        if context.is_closing or context.is_full:
            self._refuse(b"busy")
        else:
            self._channel.send(wire.READY)

    @property
    def is_closed(self) -> bool:
        """Whether the program no longer waits for the end of the session."""
        return self._channel.closed

    def log(self, line: bytes) -> None:
        """Send a log line to the program; if it has gone, the service logs the line."""
        if self.is_closed:
            self._context.log(line)
        elif len(self._channel.pending) < _MAX_LINES:
            self._channel.send(wire.LINE + line)

    def end(self, has_failed: bool) -> None:
        """End the session and send the program the result."""
        self._is_over = True
        self._channel.send(wire.end(int(has_failed)))
        self._drained()

    def _drained(self) -> None:
        if self._is_over and not len(self._channel.pending):
            self._channel.close()

    def _refuse(self, reason: bytes) -> None:
        self._channel.send(wire.REFUSED + reason)
        self._channel.close()

    def _packet(self, packet: bytes, fd: int) -> None:
        if fd < 0 or self._session is not None:
            if fd >= 0:
                close_aside(fd)
            self._channel.close()
            return
        try:
            connection = socket.socket(fileno=fd)
        except OSError:
            close_aside(fd)
            self._refuse(b"no socket")
            return
        reason = self._take(connection, packet)
        if reason:
            close_aside(connection.detach())
            self._refuse(reason)

    def _take(self, connection: socket.socket, packet: bytes) -> bytes:
        """Accept the client; return the reason if it is refused, else b""."""
        context = self._context
        if connection.type != socket.SOCK_STREAM:
            return b"no connection"
        try:
            config = handed_over_session_config(context.config, *wire.split_offer(packet))
        except wire.HandoverProtocolError:
            return b"unintelligible"
        if config is None:
            return b"other settings"
        session = HandoverSession(context, config, self)
        if context.enter(session, session.remote_ip):
            return b"busy"
        self._session = session
        self._channel.send(wire.TAKEN)
        if self.is_closed:
            # The program was not informed, so it serves the client itself.
            context.leave(session, session.remote_ip)
            return b"gone"
        self._task = context.loop.create_task(self._begin(session, connection))
        return b""

    async def _begin(self, session: "HandoverSession", connection: socket.socket) -> None:
        try:
            await self._context.loop.connect_accepted_socket(lambda: session, connection)
        except OSError:
            connection.close()
            self._context.leave(session, session.remote_ip)
            self.end(has_failed=True)

    def _closed(self) -> None:
        if self._session is not None:
            self._session.program_gone()


class HandoverSession(AsyncSmtpSession):
    """The session with a client that was handed over."""

    __slots__ = ("_is_begun", "_own_config", "_program")

    def __init__(self, context: ServerContext, config: SessionConfig, program: HandoverConnection) -> None:
        super().__init__(context, ListenerRole(config.begins_with_tls, False))
        self._own_config = config
        self._program = program
        self._is_begun = False

    @property
    def remote_ip(self) -> bytes:
        """The address of the client, as the program knows it."""
        return self._own_config.client.remote_ip

    def program_gone(self) -> None:
        """End the session because the program has ended."""
        if self._is_begun and not self._transport.is_closing():
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the client, if its program is still running."""
        self._is_begun = True
        super().connection_made(transport)
        if self._program.is_closed:
            cast(asyncio.Transport, transport).abort()

    def connection_lost(self, error: Exception | None) -> None:
        """End the session; the program may exit."""
        super().connection_lost(error)
        self._program.end(self._has_failed)

    def idle_since(self) -> int:
        """Return the time when it was last in a transaction, or was greeted."""
        return super().idle_since() if self._is_begun else self._context.now

    def time_out(self) -> None:
        """Handle the timeout of the client or a child."""
        if self._is_begun:
            super().time_out()

    def close_when_idle(self) -> None:
        """End the session unless it is processing something."""
        if self._is_begun:
            super().close_when_idle()

    def _arrive(self, transport: asyncio.BaseTransport) -> SessionConfig:
        return self._own_config

    def _enter(self) -> bytes:
        return b""

    def _write_log(self, line: bytes) -> None:
        self._program.log(line)
