"""The socket run/queue.sock: submitting clients within limits, and the one scheduler.

Fails: never; a client over its limits is disconnected.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable

from eqmail_core.ipc import admission_protocol as admission_wire
from eqmail_core.ipc.async_channel import AsyncChannel
from eqmail_core.ipc.packet_socket import hang_up, peer_credentials
from eqmail_core.queue.service.ports import MessageStorePort
from eqmail_core.queue.service.scheduler_connection import SchedulerConnection
from eqmail_core.queue.service.submission import IDLE_S, LIFETIME_S, SubmissionConnection
from eqmail_core.queue.service.submission_context import SubmissionContext
from eqmail_core.site.accounts import PeerCredentials
from eqmail_core.system.repeated_lines import say_seldom

_EXPIRE_EVERY_S = 600.0
_ACCEPT_AGAIN_S = 0.2
_ACCEPTED_AT_ONCE = 64
_MAKE_ROOM_EVERY_S = 1


class QueueListener:
    """Accepts connections until `close`.

    `context` is what submissions share; `per_user`: connections of an ordinary user (0: any number). The scheduler has
    the uid `scheduler_uid`, and passes what it returns through the folder `temporary`.
    `on_scheduler_left()` is called when the scheduler has disconnected.
    """

    def __init__(
        self,
        name: str,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        store: MessageStorePort,
        context: SubmissionContext,
        per_user: int,
        scheduler_uid: int,
        temporary: str,
        on_scheduler_left: Callable[[], None],
    ) -> None:
        self.name = name
        self.loop = loop
        self.context = context
        self._store = store
        self.per_user = per_user
        self.scheduler_uid = scheduler_uid
        self._temporary = temporary
        self._listener = listener
        self._on_scheduler_left = on_scheduler_left
        self._scheduler: QueueConnection | None = None
        self._open_connections: set[QueueConnection] = set()
        self._connections: Counter[int] = Counter()
        self._made_room = 0
        self._is_open = True
        context.on_full = self.make_room
        listener.setblocking(False)
        loop.add_reader(listener.fileno(), self._accept)
        loop.call_later(_EXPIRE_EVERY_S, self._expire)

    @property
    def has_scheduler(self) -> bool:
        """Whether the scheduler is connected."""
        return self._scheduler is not None

    def close(self) -> None:
        """Accept no more connections and messages.

        Answers can still be sent, and the scheduler stays connected.
        """
        self._is_open = False
        self.context.is_open = False
        self.loop.remove_reader(self._listener.fileno())
        for connection in self._open_connections:
            if connection is not self._scheduler:
                connection.channel.pause()

    def close_all(self) -> None:
        """End all connections."""
        for connection in list(self._open_connections):
            connection.channel.close()

    def make_room(self) -> None:
        """Drop idle unfinished messages of ordinary users, and their connections without one."""
        now = self.context.now()
        if now < self._made_room + _MAKE_ROOM_EVERY_S:
            return
        self._made_room = now
        for connection in list(self._open_connections):
            if not self.context.is_account(connection.peer.uid):
                connection.expire_idle(now - IDLE_S)

    def _expire(self) -> None:
        before = self.context.now() - LIFETIME_S
        for connection in list(self._open_connections):
            if connection.submitter is not None:
                connection.submitter.expire(before)
        self.loop.call_later(_EXPIRE_EVERY_S, self._expire)

    # Connections.

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                # Probably out of descriptors: pending connections stay in the backlog.
                line = f"warning: cannot accept a connection: {error.strerror}; will try again"
                say_seldom(self.name, line)
                self.loop.remove_reader(self._listener.fileno())
                self.loop.call_later(_ACCEPT_AGAIN_S, self._accept_again)
                return
            self._admit(sock)

    def _accept_again(self) -> None:
        if self._is_open:
            self.loop.add_reader(self._listener.fileno(), self._accept)

    def _admit(self, sock: socket.socket) -> None:
        peer, limit = peer_credentials(sock), self.per_user
        if limit and self._connections[peer.uid] >= limit and not self.context.is_account(peer.uid):
            hang_up(sock)
            return
        if not self.context.places.take(peer.uid, 1):
            self.make_room()
            if not self.context.places.take(peer.uid, 1):
                hang_up(sock)
                return
        self._connections[peer.uid] += 1
        self._open_connections.add(QueueConnection(self, sock, peer))

    def scheduler_connected(self, connection: "QueueConnection", hello: bytes) -> None:
        """Register a scheduler that sent HELLO; an earlier one is disconnected."""
        try:
            held = set(admission_wire.split_serials(hello))
        except admission_wire.AdmissionProtocolError:
            held = None
        if connection.peer.uid != self.scheduler_uid or held is None:
            connection.channel.close()
            return
        if self._scheduler is not None:
            self._scheduler.channel.close()
        self._scheduler = connection
        link = connection.scheduler = SchedulerConnection(
            self.name, self.loop, connection.channel, self._store, self._temporary
        )
        self._store.scheduler_connected(link, held)

    def disconnected(self, connection: "QueueConnection") -> None:
        """Forget a connection that has ended."""
        self._open_connections.discard(connection)
        self.context.places.give_back(connection.peer.uid, 1)
        self._connections[connection.peer.uid] -= 1
        if not self._connections[connection.peer.uid]:
            del self._connections[connection.peer.uid]
        if connection.scheduler is not None:
            self._store.scheduler_disconnected(connection.scheduler)
        if self._scheduler is connection:
            self._scheduler = None
            self._on_scheduler_left()


class QueueConnection:
    """One connection; its first packet decides its kind."""

    def __init__(self, listener: QueueListener, sock: socket.socket, peer: PeerCredentials) -> None:
        self.peer = peer
        self.submitter: SubmissionConnection | None = None
        self.scheduler: SchedulerConnection | None = None
        self._listener = listener
        self._active_at = listener.context.now()
        self.channel = AsyncChannel(listener.loop, sock, self._on_packet, self._on_close, self._on_drained)

    def _on_packet(self, packet: bytes, _fd: int) -> None:
        if self.submitter is not None:
            self.submitter.on_packet(packet)
        elif self.scheduler is not None:
            self.scheduler.on_packet(packet)
        elif packet[:1] == admission_wire.HELLO:
            self._listener.scheduler_connected(self, packet)
        else:
            self.submitter = SubmissionConnection(self._listener.context, self.channel, self.peer)
            self.submitter.on_packet(packet)

    def expire_idle(self, before: int) -> None:
        """Drop unfinished messages that are idle since this second."""
        if self.submitter is not None:
            self.submitter.expire_idle(before)
            self._active_at = max(self._active_at, self.submitter.active_at)
        if self._active_at < before and (self.submitter is None or self.submitter.is_idle):
            self.channel.close()

    def _on_close(self) -> None:
        if self.submitter is not None:
            self.submitter.on_close()
        self._listener.disconnected(self)

    def _on_drained(self) -> None:
        if self.scheduler is not None:
            self.scheduler.on_drained()
