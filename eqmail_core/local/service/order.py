"""An order of the scheduler as the spawner holds it."""

from eqmail_core.ipc import delivery_protocol as delivery_wire
from eqmail_core.ipc.background_close import close_received
from eqmail_core.ipc.selector_channel import SelectorChannel
from eqmail_core.outcome import DeliveryResult


class PendingDelivery:
    """An accepted order: connection, serial number, and the message until a worker has it."""

    __slots__ = ("dsn", "epoch", "fd", "host", "line", "local", "name", "sender", "serial")

    def __init__(self, line: SelectorChannel, request: delivery_wire.DeliveryRequest, fd: int) -> None:
        self.line = line
        self.serial = request.serial
        self.name = request.name
        self.sender = request.sender
        self.dsn = request.dsn
        self.epoch = request.epoch
        self.local, _, self.host = request.recipient.rpartition(b"@")
        self.fd = fd

    def report(self, result: DeliveryResult) -> None:
        """Send the result to the scheduler."""
        self.line.send(delivery_wire.report(self.serial, result))

    def drop_message(self) -> None:
        """Close the message descriptor of an order that goes to no worker.

        The descriptor may be any kind of file.
        """
        if self.fd >= 0:
            close_received(self.fd)
            self.fd = -1
