"""The protocol between scheduler and delivery services: run/local.sock and run/remote.sock.

    scheduler  D serial u64, number u64, name NUL sender NUL recipient NUL     a request, with the message's descriptor
               ... dsn NUL                                                     and the DSN parameters, if there are any
    service    R serial u64, flags u8, outcome, text                           its report: outcome K, Z or D
               Y serial u64 ...                                                these reports have become durable

`serial` identifies the request and is never reused on a connection.
`name` is empty, or a file name that is a function of message and recipient.
A mailbox that gets the same request twice then replaces its copy instead of keeping two.
The DSN parameters have the form of `dsn.parameters`, with the recipient at index 0.
Flags of a report: 1, the delivery is durable; 2, the next hop sends the requested DSNs; 4, the message was expanded to
several addresses. A report K without flag 1 means: delivered, but a system crash could still lose it; a Y follows.
The descriptor's offset is shared with other requests: read with pread.

Source: queue.md 3.11 (the spawner protocols); docs/adr/0013-durability-of-deliveries.md.
"""

import struct

ORDER, REPORT, DURABLE = b"D", b"R", b"Y"

IS_DURABLE, TAKES_OVER, EXPANDED = 1, 2, 4

MAX_REPORT = 10000
"""Longest report text that the scheduler keeps, in bytes."""

_ORDER = struct.Struct("<cQQ")
_REPORT = struct.Struct("<cQBc")


class DeliveryRequest:
    """The delivery of one message to one recipient.

    `takes_over`: the next hop, to which the message was offered last, sends the requested DSNs.
    """

    __slots__ = ("dsn", "name", "number", "recipient", "sender", "serial", "takes_over")

    def __init__(
        self, serial: int, number: int, name: bytes, sender: bytes, recipient: bytes, dsn: bytes = b""
    ) -> None:
        self.serial = serial
        self.number = number
        self.name = name
        self.sender = sender
        self.recipient = recipient
        self.dsn = dsn
        self.takes_over = False


def order(request: DeliveryRequest) -> bytes:
    """Render a D packet."""
    head = _ORDER.pack(ORDER, request.serial, request.number)
    dsn = request.dsn + b"\0" if request.dsn else b""
    return head + b"%b\0%b\0%b\0%b" % (request.name, request.sender, request.recipient, dsn)


def split_order(packet: bytes) -> DeliveryRequest:
    """Read a D packet.  Fails: ValueError for any other."""
    try:
        kind, serial, number = _ORDER.unpack_from(packet)
        name, sender, recipient, *dsn = packet[_ORDER.size :].split(b"\0")
    except struct.error as error:
        raise ValueError("short order") from error
    if kind != ORDER or not 1 <= len(dsn) <= 2 or dsn[-1]:
        raise ValueError("not an order")
    return DeliveryRequest(serial, number, name, sender, recipient, dsn[0])


def report(
    serial: int, durable: bool, outcome: bytes, text: bytes, takes_over: bool = False, is_expanded: bool = False
) -> bytes:
    """Render an R packet."""
    flags = durable * IS_DURABLE | takes_over * TAKES_OVER | is_expanded * EXPANDED
    return _REPORT.pack(REPORT, serial, flags, outcome) + text[:MAX_REPORT]


def split_report(packet: bytes) -> tuple[int, int, bytes, bytes]:
    """Read serial, flags, outcome and text of an R packet.  Fails: ValueError for any other."""
    try:
        kind, serial, flags, outcome = _REPORT.unpack_from(packet)
    except struct.error as error:
        raise ValueError("short report") from error
    if kind != REPORT:
        raise ValueError("not a report")
    return serial, flags, outcome, packet[_REPORT.size :]


def durable(serials: list[int]) -> bytes:
    """Render a Y packet with at most 8 000 serials."""
    return DURABLE + struct.pack(f"<{len(serials)}Q", *serials)


def split_durable(packet: bytes) -> tuple[int, ...]:
    """Read the serials of a Y packet.  Fails: ValueError for any other."""
    if packet[:1] != DURABLE or len(packet) % 8 != 1:
        raise ValueError("not a list of durable reports")
    return struct.unpack(f"<{(len(packet) - 1) // 8}Q", packet[1:])
