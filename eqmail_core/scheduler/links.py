"""Reconnecting connections of the resident scheduler, and the one to the queue service.

A broken connection is made again after growing pauses; requests outstanding on it get the result that keeps the mail.

Source: ipc/admission_protocol.py.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable

from eqmail_core.ipc import admission_protocol as admission
from eqmail_core.ipc.async_channel import AsyncChannel
from eqmail_core.ipc.packet_socket import connect_to

INITIAL_BACKOFF_S = 0.05
MAX_BACKOFF_S = 5.0

MAX_SERIALS = 8000
"""Serials in one packet, at most."""


class ReconnectingChannel:
    """A reconnecting connection to the socket at `path`.

    `on_open()` follows every connect, `on_close()` every loss.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: str,
        on_packet: Callable[[bytes, int], None],
        on_open: Callable[[], None],
        on_close: Callable[[], None],
        takes_descriptors: bool = False,
    ) -> None:
        self._loop = loop
        self._path = path
        self._takes_descriptors = takes_descriptors
        self._on_packet = on_packet
        self._on_open = on_open
        self._on_close = on_close
        self._pause_s = INITIAL_BACKOFF_S
        self._ended = False
        self.channel: AsyncChannel | None = None

    def connect(self) -> None:
        """Connect now, or try again later until it works."""
        if self._ended or self.channel is not None:
            return
        try:
            sock = connect_to(self._path, 0)
        except OSError:
            self._loop.call_later(self._pause_s, self.connect)
            self._pause_s = min(self._pause_s * 2, MAX_BACKOFF_S)
            return
        self._pause_s = INITIAL_BACKOFF_S
        rights = self._takes_descriptors
        self.channel = AsyncChannel(self._loop, sock, self._on_packet, self._closed, takes_descriptors=rights)
        self._on_open()

    def end(self) -> None:
        """Close without reconnecting."""
        self._ended = True
        if self.channel is not None:
            self.channel.close()

    def _closed(self) -> None:
        self.channel = None
        self._on_close()
        if not self._ended:
            self._loop.call_later(self._pause_s, self.connect)


class QueueLink:
    """The connection to the queue service, which keeps the messages in memory safe and removes files.

    Notices about serials are sent in groups by `flush`. After a broken connection, those that may not have arrived are
    repeated, and `on_greeted()` repeats open requests.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: str,
        on_admission: Callable[[admission.Admission, int], None],
        on_answer: Callable[[int, bool], None],
        serials: Callable[[], list[int]],
        on_greeted: Callable[[], None],
        on_change: Callable[[], None],
        on_malformed: Callable[[], None],
        on_lease: Callable[[bytes, int], None] = lambda state, epoch: None,
    ) -> None:
        self._on_lease = on_lease
        self._on_greeted = on_greeted
        self._on_malformed = on_malformed
        self._on_admission = on_admission
        self._on_answer = on_answer
        self._serials = serials
        self._on_change = on_change
        self._cleaning: deque[Callable[[bytes], None]] = deque()
        self._notices: dict[bytes, list[int]] = {admission.FINISHED: [], admission.WAITS: [], admission.PLACED: []}
        self._recently_sent: dict[bytes, deque[int]] = {
            admission.FINISHED: deque(maxlen=MAX_SERIALS // 4),
            admission.PLACED: deque(maxlen=MAX_SERIALS // 4),
        }
        self.channel = ReconnectingChannel(loop, path, self._packet, self._opened, self._lost, takes_descriptors=True)

    @property
    def is_synchronized(self) -> bool:
        """Whether everything was sent and every request answered."""
        channel = self.channel.channel
        return channel is not None and not channel.pending and not self._cleaning and not any(self._notices.values())

    def is_ready(self) -> bool:
        """Whether the queue service is connected."""
        return self.channel.channel is not None

    def delivered(self, serial: int) -> None:
        """Report with the next `flush` that every recipient is done."""
        self._notices[admission.FINISHED].append(serial)

    def needs_spill(self, serial: int) -> None:
        """Request mess/N with the next `flush`."""
        self._notices[admission.WAITS].append(serial)

    def spilled(self, serial: int) -> None:
        """Report with the next `flush` that a message is an ordinary one on the disk now."""
        self._notices[admission.PLACED].append(serial)

    def clean(self, name: bytes, then: Callable[[bytes], None]) -> None:
        """Request the removal of files."""
        if self.channel.channel is None:
            then(b"!")
            return
        self.flush()
        self._cleaning.append(then)
        self.channel.channel.send(admission.CLEAN + name + b"\0")

    def defer(self, deferred: admission.Deferred, reports: bytes) -> None:
        """Give a message of a shared queue back; without a connection `on_greeted` repeats it."""
        channel = self.channel.channel
        if channel is not None:
            for packet in admission.reports(deferred.serial, reports):
                channel.send(packet)
            channel.send(admission.deferral(deferred))

    def flush(self) -> None:
        """Send the notices collected since the last call."""
        channel = self.channel.channel
        if channel is None:
            return
        for kind, serials in self._notices.items():
            if serials:
                group = serials[:]
                serials.clear()
                if kind in self._recently_sent:
                    self._recently_sent[kind].extend(group)
                _send_serials(channel, kind, group)

    def _opened(self) -> None:
        """Send HELLO with every serial the queue service may still know, then repeat their state.

        Ended ones come first: if not all fit, the rest is only admitted again, and recognised.
        """
        channel = self.channel.channel
        assert channel is not None
        for kind, serials in self._recently_sent.items():
            self._notices[kind][:0] = serials
            serials.clear()
        known = self._notices[admission.FINISHED] + self._notices[admission.PLACED] + self._serials()
        channel.send(admission.serials(admission.HELLO, known[:MAX_SERIALS]))
        self._notices[admission.WAITS].clear()
        self._on_greeted()
        self._on_change()

    def _packet(self, packet: bytes, fd: int) -> None:
        kind = packet[:1]
        try:
            if kind == admission.ADMIT:
                message = admission.split_admission(packet)
                taken, fd = fd, -1
                self._on_admission(message, taken)
            elif kind == admission.RESUME:
                message = admission.split_resumption(packet)
                taken, fd = fd, -1
                self._on_admission(message, taken)
            elif kind == admission.LEASE:
                self._on_lease(*admission.split_lease(packet))
            elif kind == admission.WAITS:
                self._on_answer(*admission.split_spill_request(packet))
            elif kind == admission.CLEAN and self._cleaning:
                self._cleaning.popleft()(packet[1:2])
        except admission.AdmissionProtocolError:
            self._on_malformed()
            if self.channel.channel is not None:
                self.channel.channel.close()
        finally:
            if fd >= 0:
                os.close(fd)
        self._on_change()

    def _lost(self) -> None:
        waiting, self._cleaning = self._cleaning, deque()
        for then in waiting:
            then(b"!")
        self._on_change()


def _send_serials(channel: AsyncChannel, kind: bytes, numbers: list[int]) -> None:
    for start in range(0, len(numbers), MAX_SERIALS):
        channel.send(admission.serials(kind, numbers[start : start + MAX_SERIALS]))
