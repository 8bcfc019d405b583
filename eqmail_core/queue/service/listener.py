"""The socket run/queue.sock: submitting clients within limits, and the one scheduler.

Fails: never; a client over its limits is disconnected.
"""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable
from itertools import count

from eqmail_core.ipc import admission_protocol as admission_wire
from eqmail_core.ipc.async_channel import AsyncChannel
from eqmail_core.ipc.packet_socket import hang_up, peer_credentials
from eqmail_core.mail.dates import date822
from eqmail_core.mail.received import invoker_name
from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.service.budget import SubmitterBudget
from eqmail_core.queue.service.ports import MessageStorePort
from eqmail_core.queue.service.scheduler_connection import SchedulerConnection
from eqmail_core.queue.service.submission import IDLE_S, LIFETIME_S, SubmissionConnection
from eqmail_core.site.accounts import PeerCredentials
from eqmail_core.system.repeated_lines import say_seldom

MAX_LOAD = 32 << 20
"""Bytes of complete messages that may wait for the disk before submitting clients are paused; for one ordinary user,
an eighth of it."""

_EXPIRE_EVERY_S = 600.0
_ACCEPT_AGAIN_S = 0.2
_ACCEPTED_AT_ONCE = 64
_MAKE_ROOM_EVERY_S = 1


class ListenerConfig:
    """What the listener has to know of the installation.

    `submitter_uids`: the uids of alias, network daemon and scheduler, for the Received line; `scheduler`: the uid of
    the scheduler; `accounts`: uids of the mail accounts. These may have more than `per_user` connections (0: so may
    everybody), more of the `memory` for unfinished messages and more of the `descriptors`; see SubmitterBudget.
    `temporary`: a folder.
    """

    def __init__(
        self,
        submitter_uids: tuple[int, int, int],
        scheduler: int,
        accounts: set[int],
        per_user: int,
        memory: int,
        descriptors: int,
        temporary: str,
    ) -> None:
        self.submitter_uids = submitter_uids
        self.scheduler = scheduler
        self.accounts = accounts
        self.per_user = per_user
        self.memory = memory
        self.descriptors = descriptors
        self.temporary = temporary


class QueueListener:
    """Accepts connections until `close`.

    `on_scheduler_left()` is called when the scheduler has disconnected.
    """

    def __init__(
        self,
        name: str,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        disk: FileSystem,
        store: MessageStorePort,
        config: ListenerConfig,
        on_scheduler_left: Callable[[], None],
    ) -> None:
        self.name = name
        self.loop = loop
        self.disk = disk
        self.store = store
        self.config = config
        self._listener = listener
        self._on_scheduler_left = on_scheduler_left
        self._scheduler: QueueConnection | None = None
        self._open_connections: set[QueueConnection] = set()
        self._connections: Counter[int] = Counter()
        self.memory = SubmitterBudget(config.memory, config.accounts)
        # A connection takes one descriptor, and so does the file of an unfinished message.
        self.places = SubmitterBudget(config.descriptors, config.accounts, 2 * config.per_user)
        self._made_room = 0
        self._paused: list[tuple[AsyncChannel, int]] = []
        self._load = 0
        self._load_of: Counter[int] = Counter()
        self._qp = count(1)
        self._dated = (0, b"")
        self._is_open = True
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
        self.loop.remove_reader(self._listener.fileno())
        for connection in self._open_connections:
            if connection is not self._scheduler:
                connection.channel.pause()

    def close_all(self) -> None:
        """End all connections."""
        for connection in list(self._open_connections):
            connection.channel.close()

    # Shared state of the submission connections.

    def now(self) -> int:
        """Seconds since the epoch."""
        return int(time.time())

    def date(self, now: int) -> bytes:
        """Render `now` as in a Received line; at most once a second."""
        if self._dated[0] != now:
            self._dated = now, date822(now)
        return self._dated[1]

    def next_qp(self) -> int:
        """Return a unique number for a message of a process that submits several."""
        return next(self._qp) & 0xFFFFFFFF

    def is_account(self, uid: int) -> bool:
        """Return whether this is a mail account."""
        return uid in self.config.accounts

    def load(self, size: int, channel: AsyncChannel, uid: int) -> None:
        """Note that `size` more bytes wait for the disk, or fewer.

        Over its limit a client waits until half is gone.
        """
        self._load += size
        if uid not in self.config.accounts:
            self._load_of[uid] += size
            if not self._load_of[uid]:
                del self._load_of[uid]
        if size > 0 and not self._is_loaded(uid, MAX_LOAD):
            return
        if size > 0:
            channel.pause()
            self._paused.append((channel, uid))
        elif self._paused and self._is_open and not self._is_loaded(uid, MAX_LOAD // 2):
            paused, self._paused = self._paused, []
            for it, whose in paused:
                if self._is_loaded(whose, MAX_LOAD // 2):
                    self._paused.append((it, whose))
                else:
                    it.resume()

    def _is_loaded(self, uid: int, limit: int) -> bool:
        return self._load > limit or (uid not in self.config.accounts and self._load_of[uid] > limit // 8)

    def make_room(self) -> None:
        """Drop idle unfinished messages of ordinary users, and their connections without one."""
        now = self.now()
        if now < self._made_room + _MAKE_ROOM_EVERY_S:
            return
        self._made_room = now
        for connection in list(self._open_connections):
            if connection.peer.uid not in self.config.accounts:
                connection.expire_idle(now - IDLE_S)

    def _expire(self) -> None:
        before = self.now() - LIFETIME_S
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
        peer, limit = peer_credentials(sock), self.config.per_user
        if limit and self._connections[peer.uid] >= limit and peer.uid not in self.config.accounts:
            hang_up(sock)
            return
        if not self.places.take(peer.uid, 1):
            self.make_room()
            if not self.places.take(peer.uid, 1):
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
        if connection.peer.uid != self.config.scheduler or held is None:
            connection.channel.close()
            return
        if self._scheduler is not None:
            self._scheduler.channel.close()
        self._scheduler = connection
        link = connection.scheduler = SchedulerConnection(
            self.name, self.loop, connection.channel, self.store, self.config.temporary
        )
        self.store.scheduler_connected(link, held)

    def disconnected(self, connection: "QueueConnection") -> None:
        """Forget a connection that has ended."""
        self._open_connections.discard(connection)
        self.places.give_back(connection.peer.uid, 1)
        self._connections[connection.peer.uid] -= 1
        if not self._connections[connection.peer.uid]:
            del self._connections[connection.peer.uid]
        if connection.scheduler is not None:
            self.store.scheduler_disconnected(connection.scheduler)
        if self._scheduler is connection:
            self._scheduler = None
            self._on_scheduler_left()


class QueueConnection:
    """One connection; its first packet decides its kind."""

    def __init__(self, policy: QueueListener, sock: socket.socket, peer: PeerCredentials) -> None:
        self.peer = peer
        self.submitter: SubmissionConnection | None = None
        self.scheduler: SchedulerConnection | None = None
        self._listener = policy
        self._spoke = policy.now()
        self.channel = AsyncChannel(policy.loop, sock, self._on_packet, self._on_close, self._on_drained)

    def _on_packet(self, packet: bytes, _fd: int) -> None:
        if self.submitter is not None:
            self.submitter.on_packet(packet)
        elif self.scheduler is not None:
            self.scheduler.on_packet(packet)
        elif packet[:1] == admission_wire.HELLO:
            self._listener.scheduler_connected(self, packet)
        else:
            policy = self._listener
            invoked_by = invoker_name(self.peer.uid, *policy.config.submitter_uids)
            self.submitter = SubmissionConnection(policy, self.channel, self.peer, invoked_by)
            self.submitter.on_packet(packet)

    def expire_idle(self, before: int) -> None:
        """Drop unfinished messages that are idle since this second."""
        if self.submitter is not None:
            self.submitter.expire_idle(before)
            self._spoke = max(self._spoke, self.submitter.spoke)
        if self._spoke < before and (self.submitter is None or self.submitter.is_idle):
            self.channel.close()

    def _on_close(self) -> None:
        if self.submitter is not None:
            self.submitter.on_close()
        self._listener.disconnected(self)

    def _on_drained(self) -> None:
        if self.scheduler is not None:
            self.scheduler.on_drained()
