"""The resident scheduler's connections to the delivery services.

Deliveries outstanding on a connection that breaks are deferred.

Source: ipc/delivery_protocol.py.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Protocol

from eqmail_core.ipc import delivery_protocol as delivery_wire
from eqmail_core.outcome import DONE, NOT_DURABLE, TEMPORARY, DeliveryResult
from eqmail_core.queue.format.channels import LOCAL
from eqmail_core.scheduler.links import ReconnectingChannel
from eqmail_core.scheduler.ports import Delivery, DeliveryResultPort, Log, SharedMessageFd

LOST = b"Lost the connection to the delivery service; will try again. (#4.3.0)\n"
NO_MESSAGE = b"qmail-spawn unable to open message. (#4.3.0)"

# Packets that may wait for a busy peer before it gets no more requests.
_MANY = 64


class MessageOpener(Protocol):
    """Opens messages on the disk."""

    def open_message(self, number: int) -> int:
        """Return a descriptor of mess/N.  Fails: OSError."""


class DelivererLink:
    """The connection to one delivery service."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: str,
        results: DeliveryResultPort,
        files: MessageOpener,
        log: Log,
        on_change: Callable[[], None],
    ) -> None:
        self.requests: dict[int, Delivery] = {}
        self._not_durable: dict[int, Delivery] = {}
        self._results = results
        self._files = files
        self._log = log
        self._on_change = on_change
        self._serial = 0
        self.channel = ReconnectingChannel(loop, path, self._packet, on_change, self._lost)

    def is_ready(self) -> bool:
        """Whether it is connected and keeps up."""
        channel = self.channel.channel
        return channel is not None and len(channel.pending) < _MANY

    def request(self, delivery: Delivery, sender: bytes) -> None:
        """Send a delivery request with the message's descriptor."""
        channel, job = self.channel.channel, delivery.job
        assert channel is not None
        if job.body is None:
            try:
                job.body = SharedMessageFd(self._files.open_message(job.number))
            except OSError:
                self._results.report(delivery, DeliveryResult(TEMPORARY, NO_MESSAGE))
                return
        self._serial = serial = self._serial + 1
        name = b""
        if job.channel == LOCAL:
            name = job.message.delivery_name(delivery.offset)
        self.requests[serial] = delivery
        order = delivery_wire.DeliveryRequest(
            serial, job.number, name, sender, delivery.recipient, job.dsn_text(delivery.offset), job.lease_epoch
        )
        channel.send(delivery_wire.order(order), job.body.fd)

    def _packet(self, packet: bytes, fd: int) -> None:
        if fd >= 0:
            os.close(fd)
        if packet[:1] == delivery_wire.REPORT:
            try:
                serial, result = delivery_wire.split_report(packet)
            except ValueError:
                self._drop_peer()
                return
            delivery = self.requests.pop(serial, None)
            if delivery is None:
                self._log.warning(b"internal error: delivery report out of range")
                return
            if result.outcome == DONE and result.disposition == NOT_DURABLE:
                self._not_durable[serial] = delivery
            result.text = result.text[: delivery_wire.MAX_REPORT].partition(b"\0")[0]
            self._results.report(delivery, result)
        elif packet[:1] == delivery_wire.BECAME_DURABLE:
            try:
                serials = delivery_wire.split_durable(packet)
            except ValueError:
                self._drop_peer()
                return
            for serial in serials:
                delivery = self._not_durable.pop(serial, None)
                if delivery is not None:
                    self._results.mark_durable(delivery)
        self._on_change()

    def _drop_peer(self) -> None:
        """Close the connection after a malformed packet; it is made again."""
        self._log.warning(b"internal error: delivery report out of range")
        if self.channel.channel is not None:
            self.channel.channel.close()

    def _lost(self) -> None:
        orders, self.requests = self.requests, {}
        pending, self._not_durable = self._not_durable, {}
        for delivery in orders.values():
            self._results.report(delivery, DeliveryResult(TEMPORARY, LOST))
        for delivery in pending.values():
            self._results.durability_lost(delivery)
        self._on_change()


class Deliverers:
    """All delivery services of one channel; a request goes to the one with the fewest outstanding."""

    alive = True

    def __init__(self) -> None:
        self.links: list[DelivererLink] = []

    def is_ready(self) -> bool:
        """Whether one of them accepts a request."""
        for wire in self.links:  # noqa: SIM110  # half the cost of `any` in a hot path
            if wire.is_ready():
                return True
        return False

    def deliver(self, delivery: Delivery, sender: bytes) -> None:
        """Send the delivery request."""
        wires = self.links
        if len(wires) == 1:
            wires[0].request(delivery, sender)
        else:
            min((wire for wire in wires if wire.is_ready()), key=lambda wire: len(wire.requests)).request(
                delivery, sender
            )
