"""The queue service's connection to the scheduler: messages out, results in.

Source: ipc/admission_protocol.py.
Fails: never; a message that cannot be sent now is sent later.
"""

import asyncio
import os
from collections import deque
from functools import partial

from eqmail_core.ipc import admission_protocol as wire
from eqmail_core.ipc.async_channel import AsyncChannel
from eqmail_core.queue.postgres.stored_message import Claimed
from eqmail_core.queue.service.accepted_message import AcceptedMessage
from eqmail_core.queue.service.ports import SchedulerStore
from eqmail_core.system.log import log_line
from eqmail_core.system.repeated_lines import say_seldom
from eqmail_core.system.sealed_file import sealed_file

# Packets that may wait for the scheduler before messages wait here, without a descriptor each.
_MANY = 200
_RETRY_S = 1.0


class SchedulerConnection:
    """The connection of a scheduler that sent HELLO.

    `temporary`: a folder for systems without sealed memory.
    """

    def __init__(
        self, name: str, loop: asyncio.AbstractEventLoop, channel: AsyncChannel, store: SchedulerStore, temporary: str
    ) -> None:
        self._name = name
        self._loop = loop
        self._channel = channel
        self._store = store
        self._temporary = temporary
        self._waiting: deque[tuple[AcceptedMessage, Claimed | None]] = deque()

    def admit(self, message: AcceptedMessage, earlier: Claimed | None = None) -> None:
        """Send a message, after those that wait; `earlier`: what earlier attempts left."""
        if self._waiting or len(self._channel.pending) > _MANY or not self._send(message, earlier):
            self._waiting.append((message, earlier))

    def set_lease(self, state: bytes, epoch: int) -> None:
        """Say whether this node may deliver what it has of a shared queue."""
        if state == wire.LOST:
            self._waiting.clear()
        self._channel.send(wire.lease(state, epoch))

    def on_drained(self) -> None:
        """Send waiting messages, because the scheduler has caught up."""
        while self._waiting and len(self._channel.pending) <= _MANY:
            message, earlier = self._waiting.popleft()
            if message.scheduler is self and not self._send(message, earlier):
                self._waiting.appendleft((message, earlier))
                return

    def on_packet(self, packet: bytes) -> None:
        """Process a packet; unknown kinds are ignored, malformed ones end the connection."""
        try:
            self._take(packet)
        except wire.AdmissionProtocolError as error:
            log_line(self._name, f"alert: unintelligible packet of the scheduler ({error}), hanging up")
            self._channel.close()

    def _take(self, packet: bytes) -> None:
        kind = packet[:1]
        if kind == wire.FINISHED:
            for serial in wire.split_serials(packet):
                self._store.delivered(serial)
        elif kind == wire.WAITS:
            for serial in wire.split_serials(packet):
                self._store.needs_spill(serial, partial(self._written, serial))
        elif kind == wire.PLACED:
            for serial in wire.split_serials(packet):
                self._store.spilled(serial)
        elif kind == wire.CLEAN:
            self._store.clean(wire.split_clean(packet), self._cleaned)
        elif kind == wire.REPORTS:
            self._store.add_reports(*wire.split_reports(packet))
        elif kind == wire.DEFER:
            deferred = wire.split_deferral(packet)
            self._store.defer(deferred, partial(self._written, deferred.serial))

    def _written(self, serial: int, ok: bool) -> None:
        self._channel.send(wire.spill_request(serial, ok))

    def _cleaned(self, answer: bytes) -> None:
        self._channel.send(wire.CLEAN + answer)

    def _send(self, message: AcceptedMessage, earlier: Claimed | None) -> bool:
        try:
            if message.body is not None:
                reports = earlier.bounce if earlier is not None else b""
                fd = sealed_file(message.body + reports, self._temporary)
            else:
                fd = os.open(self._store.path_for(message.number), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            line = f"warning: msg {message.number}: cannot hand it over: {error.strerror}; will try again"
            say_seldom(self._name, line)
            self._loop.call_later(_RETRY_S, self.on_drained)
            return False
        admission = wire.Admission(
            message.serial, message.number, message.size, message.birth, message.uid, message.qp, message.envelope
        )
        if earlier is None:
            packet = wire.admission(admission)
        else:
            due = earlier.due_local, earlier.due_remote
            attempts = wire.EarlierAttempts(earlier.attempts, due, earlier.done, earlier.replies, earlier.warned)
            packet = wire.resumption(admission, attempts)
        self._channel.send(packet, fd)
        os.close(fd)
        self._store.handed_over(message)
        return True
