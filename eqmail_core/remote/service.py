"""The remote delivery service: delivery requests in, reports out, many deliveries at a time.

Every scheduler that connects is served.  When one disconnects, its deliveries are cancelled: it will request them
again, and a second run could only produce a duplicate.  After TERM no request is accepted; running deliveries are
finished and reported.

Fails: PrivilegeError, ControlError, OSError at its start.
Source: queue.md 3.11; docs/INTERNALS.md; docs/adr/0007-resident-agents.md.
"""

import asyncio
import os
import pwd
import signal
import socket
from collections import deque
from functools import partial

from eqmail_core.dns import resolver
from eqmail_core.dns.resolver import AsyncResolver
from eqmail_core.event_loop.async_listener import LoopListener
from eqmail_core.event_loop.event_loop import begin_service, new_event_loop
from eqmail_core.ipc.async_channel import AsyncChannel
from eqmail_core.ipc.background_close import close_aside, close_received
from eqmail_core.ipc.delivery_protocol import DeliveryRequest, report, split_order
from eqmail_core.outcome import TEMPORARY, DeliveryResult
from eqmail_core.remote.delivery import NAME, RemoteDeliveries
from eqmail_core.remote.settings import SettingsSource
from eqmail_core.remote.tcpto import TcptoCache
from eqmail_core.service.readiness import tell_ready
from eqmail_core.site.site import Site
from eqmail_core.smtp.async_client import ConnectionTimer
from eqmail_core.spawn.protocol import NO_MESSAGE
from eqmail_core.system.repeated_lines import say_seldom


class RemoteService:
    """The deliveries of this process, and the connections to the schedulers that requested them."""

    def __init__(self, deliveries: RemoteDeliveries, limit: int) -> None:
        self._deliveries = deliveries
        self._limit = limit
        self._running: set[asyncio.Task[None]] = set()
        self._wires: set[RequestConnection] = set()
        self._is_ending = False
        self._idle = asyncio.Event()
        self._idle.set()

    def serve(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        """Accept requests from a scheduler that has connected."""
        self._wires.add(RequestConnection(self, loop, sock))

    @property
    def has_room(self) -> bool:
        """Whether another delivery may start."""
        return len(self._running) < self._limit and not self._is_ending

    async def finish(self) -> None:
        """Accept no more requests; return when all running deliveries are reported."""
        self._is_ending = True
        for wire in self._wires:
            wire.stop()
        await self._idle.wait()

    def start(self, wire: "RequestConnection", order: DeliveryRequest, message: int) -> asyncio.Task[None]:
        """Start a delivery, which owns the descriptor `message`."""
        task = asyncio.get_running_loop().create_task(self._deliver(wire, order, message))
        self._running.add(task)
        self._idle.clear()
        # Not at the end of the coroutine: one that is cancelled before its first step never runs.
        task.add_done_callback(lambda task: self._ended(wire, message, task))
        return task

    def connection_closed(self, wire: "RequestConnection") -> None:
        """Cancel the deliveries of a scheduler that has disconnected."""
        self._wires.discard(wire)

    async def _deliver(self, wire: "RequestConnection", order: DeliveryRequest, message: int) -> None:
        result = await self._deliver_or_defer(order, message)
        wire.channel.send(report(order.serial, result))

    def _ended(self, wire: "RequestConnection", message: int, task: asyncio.Task[None]) -> None:
        close_received(message)
        self._running.discard(task)
        wire.tasks.discard(task)
        if not self._running:
            self._idle.set()
        for other in list(self._wires):
            other.resume()

    async def _deliver_or_defer(self, order: DeliveryRequest, message: int) -> DeliveryResult:
        """Deliver; a bug must neither leave a request unanswered nor stop the other deliveries."""
        try:
            return await self._deliveries.deliver(order, message)
        except Exception as surprise:
            say_seldom(
                NAME, f"alert: delivery {order.serial} of message {order.number}: {type(surprise).__name__}: {surprise}"
            )
            return DeliveryResult(TEMPORARY, b"Internal error in remote delivery. (#4.3.5)\n")


class RequestConnection:
    """One scheduler: its waiting requests and its running deliveries."""

    def __init__(self, pool: RemoteService, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._pool = pool
        self._waiting: deque[tuple[DeliveryRequest, int]] = deque()
        self._is_paused = False
        self.tasks: set[asyncio.Task[None]] = set()
        self.channel = AsyncChannel(loop, sock, self._on_request, self._on_close, takes_descriptors=True)

    def resume(self) -> None:
        """Start waiting requests, as far as there is room."""
        while self._waiting and self._pool.has_room:
            self.tasks.add(self._pool.start(self, *self._waiting.popleft()))
        if self._is_paused and self._pool.has_room:
            self._is_paused = False
            self.channel.resume()

    def stop(self) -> None:
        """Accept no more requests; the scheduler repeats those without an answer."""
        self.channel.pause()
        self._drop_waiting()

    def _on_request(self, packet: bytes, fd: int) -> None:
        try:
            order = split_order(packet)
        except ValueError:
            say_seldom(NAME, "warning: a packet that is no order: closing this wire")
            if fd >= 0:
                close_aside(fd)
            self.channel.close()
            return
        if fd < 0:
            self.channel.send(report(order.serial, NO_MESSAGE))
            return
        self._waiting.append((order, fd))
        self.resume()
        if self._waiting and not self._is_paused:
            self._is_paused = True
            self.channel.pause()

    def _on_close(self) -> None:
        self._drop_waiting()
        for task in self.tasks:
            task.cancel()
        self._pool.connection_closed(self)

    def _drop_waiting(self) -> None:
        for _, fd in self._waiting:
            close_received(fd)
        self._waiting.clear()


def run(site: Site, listener: socket.socket) -> None:
    """Serve as the remote role until TERM."""
    resolver.preload()
    begin_service(site, "qmailr")
    owner = os.getuid() if site.single_user else pwd.getpwnam(site.accounts.user("qmailq")).pw_uid
    loop = new_event_loop()
    try:
        loop.run_until_complete(_serve(site, listener, owner))
    finally:
        loop.close()


async def _serve(site: Site, listener: socket.socket, owner: int) -> None:
    loop = asyncio.get_running_loop()
    source = SettingsSource(site, os.environb)
    source.check()
    tcpto = TcptoCache(site.queue.tcpto)
    tcpto.clear()
    watch = ConnectionTimer(loop)
    asked = AsyncResolver()
    deliveries = RemoteDeliveries(site, source, asked, tcpto, watch, owner)
    pool = RemoteService(deliveries, site.spawn)
    ended = asyncio.Event()

    def reread() -> None:
        source.reread()
        asked.configure()

    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGHUP, reread)
    listening = LoopListener(loop, listener, partial(pool.serve, loop), partial(say_seldom, NAME))
    tell_ready()
    await ended.wait()
    listening.close()
    await pool.finish()
    watch.close()
