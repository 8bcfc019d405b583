"""The wire from the scheduler to a delivering service: orders out, reports back; run/local.sock and run/remote.sock.

    scheduler  D serial u64, number u64, name NUL sender NUL recipient NUL     an order, with the message's descriptor
    service    R serial u64, durable u8, letter, text                          its report: letter K, Z or D
               Y serial u64 ...                                                these reports have become durable

`serial` names the order and is never used twice on a connection.  `name` is empty, or a file name that is a function of
message and recipient: a mailbox that is given the same order twice then replaces its copy instead of keeping two.
A report K with durable 0 says that the mail is delivered but could still be lost with the machine; a Y follows.
The descriptor's offset is shared with other orders: read it with positions of one's own (pread).

Source: queue.md 3.11 (the spawner protocols), architecture "boundary 3".
"""

import struct

ORDER, REPORT, DURABLE = b"D", b"R", b"Y"

MAX_REPORT = 10000
"""Longest report text that the scheduler keeps, in bytes."""

_ORDER = struct.Struct("<cQQ")
_REPORT = struct.Struct("<cQBc")


class Order:
    """One recipient of one message, to be delivered now."""

    __slots__ = ("name", "number", "recipient", "sender", "serial")

    def __init__(self, serial: int, number: int, name: bytes, sender: bytes, recipient: bytes) -> None:
        self.serial = serial
        self.number = number
        self.name = name
        self.sender = sender
        self.recipient = recipient


def order(it: Order) -> bytes:
    """Render a D packet."""
    return _ORDER.pack(ORDER, it.serial, it.number) + b"%b\0%b\0%b\0" % (it.name, it.sender, it.recipient)


def split_order(packet: bytes) -> Order:
    """Read a D packet.  Fails: ValueError for any other."""
    try:
        kind, serial, number = _ORDER.unpack_from(packet)
        name, sender, recipient, _ = packet[_ORDER.size :].split(b"\0")
    except struct.error as error:
        raise ValueError("short order") from error
    if kind != ORDER:
        raise ValueError("not an order")
    return Order(serial, number, name, sender, recipient)


def report(serial: int, durable: bool, letter: bytes, text: bytes) -> bytes:
    """Render an R packet."""
    return _REPORT.pack(REPORT, serial, durable, letter) + text[:MAX_REPORT]


def split_report(packet: bytes) -> tuple[int, bool, bytes, bytes]:
    """Serial, durability, letter and text of an R packet."""
    _, serial, durable, letter = _REPORT.unpack_from(packet)
    return serial, bool(durable), letter, packet[_REPORT.size :]


def durable(serials: list[int]) -> bytes:
    """Render a Y packet; at most 8 000 serials."""
    return DURABLE + struct.pack(f"<{len(serials)}Q", *serials)


def split_durable(packet: bytes) -> tuple[int, ...]:
    """The serials of a Y packet."""
    return struct.unpack(f"<{(len(packet) - 1) // 8}Q", packet[1:])
