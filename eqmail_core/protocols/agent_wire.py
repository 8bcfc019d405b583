"""The private wire between the local spawner and the agent that delivers as one user.

    spawner  id NUL name NUL local NUL ext NUL host NUL sender NUL ...     orders, each with a descriptor, in order
             ? NUL id NUL ext NUL ...                                      questions: would you deliver to this one?
    agent    id NUL durable u8, letter, text NUL ...                       their reports, as in delivery_wire
             id NUL Y NUL ...                                              this report has become durable

A packet holds one or more of one kind; an answer is a report that is durable at once.  An id is a decimal number that
the spawner never gives twice.  The spawner believes an agent nothing about orders that it did not give to it.

Source: architecture "boundary 4".
"""

from eqmail_core.formats.text0 import fields, join

MAX_ORDERS = 64
"""Most orders in one packet: the system passes no more than 253 descriptors at once."""

MAX_BYTES = 65536
"""A packet is full when it has this many bytes; one order or report more still fits."""

DURABLE = b"Y"

_QUESTION = b"?\0"

_ORDER_FIELDS = 6


class AgentOrder:
    """One delivery that an agent is to make; `fd` is the message, -1 where it was lost on the way."""

    __slots__ = ("ext", "fd", "host", "local", "name", "number", "sender")

    def __init__(self, number: int, name: bytes, local: bytes, ext: bytes, host: bytes, sender: bytes, fd: int) -> None:
        self.number = number
        self.name = name
        self.local = local
        self.ext = ext
        self.host = host
        self.sender = sender
        self.fd = fd


def order(it: AgentOrder) -> bytes:
    """Render one order."""
    return join(b"%d" % it.number, it.name, it.local, it.ext, it.host, it.sender)


def split_orders(packet: bytes, descriptors: list[int]) -> list[AgentOrder]:
    """The orders of a packet, with their descriptors."""
    parts = fields(packet)
    count = len(parts) // _ORDER_FIELDS
    fds = descriptors + [-1] * (count - len(descriptors))
    return [
        AgentOrder(int(number), name, local, ext, host, sender, fd)
        for number, name, local, ext, host, sender, fd in zip(*(parts[at::6] for at in range(6)), fds, strict=True)
    ]


def questions(asked: list[tuple[int, bytes]]) -> bytes:
    """Render questions: pairs of id and extension."""
    return _QUESTION + b"".join([join(b"%d" % number, ext) for number, ext in asked])


def split_questions(packet: bytes) -> list[tuple[int, bytes]]:
    """The questions of a packet; none where it holds orders."""
    if not packet.startswith(_QUESTION):
        return []
    parts = fields(packet[len(_QUESTION) :])
    return [(int(number), ext) for number, ext in zip(parts[::2], parts[1::2], strict=True)]


def report(number: int, durable: bool, text: bytes) -> bytes:
    """Render one report; `text` begins with its letter and has no NUL."""
    return b"%d\0%d%b\0" % (number, durable, text)


def settled(number: int) -> bytes:
    """Render the news that a report has become durable."""
    return b"%d\0Y\0" % number


def split_reports(packet: bytes) -> list[tuple[int, bytes]]:
    """Pairs of id and what is said about it.  Fails: ValueError for what no agent of ours sends."""
    parts = fields(packet)
    return [(int(number), said) for number, said in zip(parts[::2], parts[1::2], strict=True)]
