"""The protocol between scheduler and delivery services: run/local.sock and run/remote.sock.

    scheduler  D serial u64, number u64, epoch u64, name NUL sender NUL recipient NUL
                                                                               a request, with the message's descriptor
               ... dsn NUL                                                     and the DSN parameters, if there are any
    service    R serial u64, flags u8, outcome, text                           its report: outcome K, Z or D
               Y serial u64 ...                                                these reports have become durable

`epoch` is that of this node on a queue that nodes share: the service delivers only while the lease of that epoch lasts
(system/lease_file.py); 0 where no other node can have the message.
`serial` identifies the request and is never reused on a connection.
`name` is empty, or a file name that is a function of message and recipient.
A mailbox that gets the same request twice then replaces its copy instead of keeping two.
The DSN parameters have the form of `dsn.parameters`, with the recipient at index 0.
Flags of a report: 1, the delivery is durable; 3, also, the next hop sends the requested DSNs; 5, also, the message was
expanded to several addresses. A report K with flags 0 means: delivered, but a system crash could still lose
it; a Y follows.
The descriptor's offset is shared with other requests: read with pread.

Source: queue.md 3.11 (the spawner protocols); docs/adr/0013-durability-of-deliveries.md.
"""

import struct

from eqmail_core.outcome import DSN_RELAYED, DURABLE, EXPANDED, NOT_DURABLE, DeliveryResult, Disposition

ORDER, REPORT, BECAME_DURABLE = b"D", b"R", b"Y"

_FLAGS = {NOT_DURABLE: 0, DURABLE: 1, DSN_RELAYED: 3, EXPANDED: 5}
_DISPOSITIONS: dict[int, Disposition] = {flags: disposition for disposition, flags in _FLAGS.items()}

MAX_REPORT = 10000
"""Longest report text that the scheduler keeps, in bytes."""

_ORDER = struct.Struct("<cQQQ")
_REPORT = struct.Struct("<cQBc")


class DeliveryRequest:
    """The delivery of one message to one recipient."""

    __slots__ = ("dsn", "epoch", "name", "number", "recipient", "sender", "serial")

    def __init__(
        self,
        serial: int,
        number: int,
        name: bytes,
        sender: bytes,
        recipient: bytes,
        dsn: bytes = b"",
        epoch: int = 0,
    ) -> None:
        self.serial = serial
        self.number = number
        self.name = name
        self.sender = sender
        self.recipient = recipient
        self.dsn = dsn
        self.epoch = epoch


def order(request: DeliveryRequest) -> bytes:
    """Render a D packet."""
    head = _ORDER.pack(ORDER, request.serial, request.number, request.epoch)
    dsn = request.dsn + b"\0" if request.dsn else b""
    return head + b"%b\0%b\0%b\0%b" % (request.name, request.sender, request.recipient, dsn)


def split_order(packet: bytes) -> DeliveryRequest:
    """Read a D packet.  Fails: ValueError for any other."""
    try:
        kind, serial, number, epoch = _ORDER.unpack_from(packet)
        name, sender, recipient, *dsn = packet[_ORDER.size :].split(b"\0")
    except struct.error as error:
        raise ValueError("short order") from error
    if kind != ORDER or not 1 <= len(dsn) <= 2 or dsn[-1]:
        raise ValueError("not an order")
    return DeliveryRequest(serial, number, name, sender, recipient, dsn[0], epoch)


def report(serial: int, result: DeliveryResult) -> bytes:
    """Render an R packet."""
    return _REPORT.pack(REPORT, serial, _FLAGS[result.disposition], result.outcome) + result.text[:MAX_REPORT]


def split_report(packet: bytes) -> tuple[int, DeliveryResult]:
    """Read serial and result of an R packet.  Fails: ValueError for any other, and for flags that no service sets."""
    try:
        kind, serial, flags, outcome = _REPORT.unpack_from(packet)
    except struct.error as error:
        raise ValueError("short report") from error
    if kind != REPORT or flags not in _DISPOSITIONS:
        raise ValueError("not a report")
    return serial, DeliveryResult(outcome, packet[_REPORT.size :], _DISPOSITIONS[flags])


def durable(serials: list[int]) -> bytes:
    """Render a Y packet with at most 8 000 serials."""
    return BECAME_DURABLE + struct.pack(f"<{len(serials)}Q", *serials)


def split_durable(packet: bytes) -> tuple[int, ...]:
    """Read the serials of a Y packet.  Fails: ValueError for any other."""
    if packet[:1] != BECAME_DURABLE or len(packet) % 8 != 1:
        raise ValueError("not a list of durable reports")
    return struct.unpack(f"<{(len(packet) - 1) // 8}Q", packet[1:])
