"""The sockets of the resident scheduler: to the queue service, and to every process that delivers.

A wire that breaks is made anew with growing pauses; what was outstanding on it is settled in the mail's favour.

Source: protocols.admission_wire, protocols.delivery_wire.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable

from eqmail_core.formats.info import delivery_name, mark_of
from eqmail_core.net.channel import Channel
from eqmail_core.policy.schedule import LOCAL
from eqmail_core.protocols import admission_wire as admission
from eqmail_core.protocols import delivery_wire as delivery_wire
from eqmail_core.services.send.ports import NO_SERIAL, Body, Delivery
from eqmail_core.services.send.scheduler import Scheduler
from eqmail_core.system.sockets import connect_to

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 5.0

MOST_SERIALS = 8000
"""Serials that go into one packet."""

LOST = b"Lost the connection to the delivery service; will try again. (#4.3.0)\n"
NO_MESSAGE = b"qmail-spawn unable to open message. (#4.3.0)"

# Packets that may wait for a busy peer before it gets no more orders.
_MANY = 64


class Wire:
    """One connection to the socket at `path`, kept up; `on_open()` follows every connect, `on_close()` every loss."""

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
        self._pause_s = FIRST_PAUSE_S
        self._ended = False
        self.channel: Channel | None = None

    def connect(self) -> None:
        """Connect now, or later and again."""
        if self._ended or self.channel is not None:
            return
        try:
            sock = connect_to(self._path, 0)
        except OSError:
            self._loop.call_later(self._pause_s, self.connect)
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
            return
        self._pause_s = FIRST_PAUSE_S
        rights = self._takes_descriptors
        self.channel = Channel(self._loop, sock, self._on_packet, self._closed, takes_descriptors=rights)
        self._on_open()

    def end(self) -> None:
        """Close for good."""
        self._ended = True
        if self.channel is not None:
            self.channel.close()

    def _closed(self) -> None:
        self.channel = None
        self._on_close()
        if not self._ended:
            self._loop.call_later(self._pause_s, self.connect)


class QueueEnd:
    """The wire to the queue service: keeper of the messages in memory, and cleaner.

    What is said about serials goes out in groups with `flush`; what may not have arrived when the wire broke is said
    again, and `on_greeted()` asks again what has to be asked.
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
    ) -> None:
        self._on_greeted = on_greeted
        self._on_admission = on_admission
        self._on_answer = on_answer
        self._serials = serials
        self._on_change = on_change
        self._cleaning: deque[Callable[[bytes], None]] = deque()
        self._said: dict[bytes, list[int]] = {admission.FINISHED: [], admission.WAITS: [], admission.PLACED: []}
        self._lately: dict[bytes, deque[int]] = {
            admission.FINISHED: deque(maxlen=MOST_SERIALS // 4),
            admission.PLACED: deque(maxlen=MOST_SERIALS // 4),
        }
        self.finished = self._said[admission.FINISHED].append
        self.waits = self._said[admission.WAITS].append
        self.placed = self._said[admission.PLACED].append
        self.wire = Wire(loop, path, self._packet, self._opened, self._lost, takes_descriptors=True)

    @property
    def is_settled(self) -> bool:
        """Whether everything was said and every request answered."""
        channel = self.wire.channel
        return channel is not None and not channel.waiting and not self._cleaning and not any(self._said.values())

    def can_take(self) -> bool:
        """Whether the queue service is there."""
        return self.wire.channel is not None

    def clean(self, name: bytes, then: Callable[[bytes], None]) -> None:
        """Ask for files to be removed."""
        if self.wire.channel is None:
            then(b"!")
            return
        self.flush()
        self._cleaning.append(then)
        self.wire.channel.send(admission.CLEAN + name + b"\0")

    def flush(self) -> None:
        """Say what has happened since the last time."""
        channel = self.wire.channel
        if channel is None:
            return
        for kind, serials in self._said.items():
            if serials:
                group = serials[:]
                serials.clear()
                if kind in self._lately:
                    self._lately[kind].extend(group)
                _send_serials(channel, kind, group)

    def _opened(self) -> None:
        """Say hello with everything of ours that the queue may still know, then what is true of it.

        What has ended comes first: if not all fits, the rest is only handed over again, and recognised.
        """
        channel = self.wire.channel
        assert channel is not None
        for kind, serials in self._lately.items():
            self._said[kind][:0] = serials
            serials.clear()
        known = self._said[admission.FINISHED] + self._said[admission.PLACED] + self._serials()
        channel.send(admission.serials(admission.HELLO, known[:MOST_SERIALS]))
        self._said[admission.WAITS].clear()
        self._on_greeted()
        self._on_change()

    def _packet(self, packet: bytes, fd: int) -> None:
        kind = packet[:1]
        try:
            if kind == admission.ADMIT:
                self._on_admission(admission.split_admission(packet), fd)
                fd = -1
            elif kind == admission.WAITS:
                self._on_answer(*admission.split_waits_answer(packet))
            elif kind == admission.CLEAN and self._cleaning:
                self._cleaning.popleft()(packet[1:2])
        except admission.WireError:
            if self.wire.channel is not None:
                self.wire.channel.close()
        if fd >= 0:
            os.close(fd)
        self._on_change()

    def _lost(self) -> None:
        waiting, self._cleaning = self._cleaning, deque()
        for then in waiting:
            then(b"!")
        self._on_change()


def _send_serials(channel: Channel, kind: bytes, numbers: list[int]) -> None:
    for start in range(0, len(numbers), MOST_SERIALS):
        channel.send(admission.serials(kind, numbers[start : start + MOST_SERIALS]))


class DeliveryWire:
    """The wire to one process that delivers: orders out, reports back."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, path: str, scheduler: Scheduler, on_change: Callable[[], None]
    ) -> None:
        self.orders: dict[int, Delivery] = {}
        self._unsettled: dict[int, Delivery] = {}
        self._scheduler = scheduler
        self._on_change = on_change
        self._serial = 0
        self.wire = Wire(loop, path, self._packet, on_change, self._lost)

    def can_take(self) -> bool:
        """Whether it is there and keeps up."""
        channel = self.wire.channel
        return channel is not None and channel.waiting < _MANY

    def order(self, it: Delivery, sender: bytes) -> None:
        """Send an order with the message's descriptor."""
        channel, job = self.wire.channel, it.job
        assert channel is not None
        if job.body is None:
            try:
                job.body = Body(self._scheduler.ledger.open_message(job.number))
            except OSError:
                self._scheduler.report(it, b"Z", NO_MESSAGE)
                return
        self._serial = serial = self._serial + 1
        name = b""
        if job.channel == LOCAL:
            mark = self._scheduler.ledger.mark(job.number) if job.serial == NO_SERIAL else mark_of(job.serial)
            name = delivery_name(job.birth, mark, job.number, it.offset)
        self.orders[serial] = it
        order = delivery_wire.Order(serial, job.number, name, sender, it.recipient, job.wishes_text(it.offset))
        channel.send(delivery_wire.order(order), job.body.fd)

    def _packet(self, packet: bytes, fd: int) -> None:
        if fd >= 0:
            os.close(fd)
        if packet[:1] == delivery_wire.REPORT:
            try:
                serial, flags, letter, text = delivery_wire.split_report(packet)
            except ValueError:
                self._distrust()
                return
            it = self.orders.pop(serial, None)
            if it is None:
                self._scheduler.log.warning(b"internal error: delivery report out of range")
                return
            durable = bool(flags & delivery_wire.IS_DURABLE)
            if letter == b"K" and not durable:
                self._unsettled[serial] = it
            text = text[: delivery_wire.MAX_REPORT].partition(b"\0")[0]
            takes_over, expanded = (bool(flags & flag) for flag in (delivery_wire.TAKES_OVER, delivery_wire.EXPANDED))
            self._scheduler.report(it, letter, text, durable, takes_over, expanded)
        elif packet[:1] == delivery_wire.DURABLE:
            try:
                serials = delivery_wire.split_durable(packet)
            except ValueError:
                self._distrust()
                return
            for serial in serials:
                it = self._unsettled.pop(serial, None)
                if it is not None:
                    self._scheduler.settled(it)
        self._on_change()

    def _distrust(self) -> None:
        """The peer talks nonsense: begin anew."""
        self._scheduler.log.warning(b"internal error: delivery report out of range")
        if self.wire.channel is not None:
            self.wire.channel.close()

    def _lost(self) -> None:
        orders, self.orders = self.orders, {}
        unsettled, self._unsettled = self._unsettled, {}
        for it in orders.values():
            self._scheduler.report(it, b"Z", LOST)
        for it in unsettled.values():
            self._scheduler.unsettled_lost(it)
        self._on_change()


class Deliverers:
    """All processes that deliver for one channel; an order goes to the one with the fewest."""

    alive = True

    def __init__(self) -> None:
        self.wires: list[DeliveryWire] = []

    def can_take(self) -> bool:
        """Whether one of them takes an order."""
        for wire in self.wires:  # noqa: SIM110  # costs half of what `any` does, and is asked all the time
            if wire.can_take():
                return True
        return False

    def deliver(self, delivery: Delivery, sender: bytes) -> None:
        """Send the order."""
        wires = self.wires
        if len(wires) == 1:
            wires[0].order(delivery, sender)
        else:
            min((wire for wire in wires if wire.can_take()), key=lambda wire: len(wire.orders)).order(delivery, sender)
