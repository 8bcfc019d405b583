"""The private wire between the local spawner and those that deliver for it: a user's agent, or the carrier.

    spawner  id NUL name NUL local NUL host NUL sender NUL wishes NUL user ...
                                                                        orders, each with a descriptor, in order
             ? NUL id NUL user ...                                      questions: would you deliver to this one?
             ! NUL                                                      are you there?
    agent    id NUL fate, letter, text NUL ...                          their reports, as in delivery_wire
             id NUL Y NUL ...                                           this report has become durable
             0 NUL A NUL                                                I am here
    carrier  id NUL P NUL ...                                           this needs the agent of its user
             id NUL L NUL ...                                           the same, and he keeps it for a while

A fate (values.outcome) is 0 for what is not durable yet, 1 for what is, and 2 or 3 for what is and was passed on: to
one address alone, which now has the sender's wishes, or to several.

A user is its six fields, NUL each.  A packet holds one or more of one kind; an answer is a report that is durable at
once.  An id is a decimal number from 1 that the spawner never gives twice.  The spawner believes nobody anything about
orders that it did not give to it.

Source: architecture "boundary 4".
"""

from eqmail_core.outcome import FLEETING, LASTING
from eqmail_core.text.framing import fields, join
from eqmail_core.users.user import User

MAX_ORDERS = 64
"""Most orders in one packet: the system passes no more than 253 descriptors at once."""

MAX_BYTES = 65536
"""A packet is full when it has this many bytes; one order or report more still fits."""

DURABLE = b"Y"
PERSONAL, SLOW = b"P", b"L"

PROBE = b"!\0"
ALIVE = b"A"
PRESENT = b"0\0A\0"
"""The question whether an agent is there, what is said of it, and the whole answer."""

_QUESTION = b"?\0"
# An id and the NULs of a question.
_FIELD_BYTES = 32

_OWN_FIELDS = 6
_USER_FIELDS = 6
_ORDER_FIELDS = _OWN_FIELDS + _USER_FIELDS


class AgentOrder:
    """One delivery that is to be made for `user`; `fd` is the message, -1 where it was lost on the way."""

    __slots__ = ("dsn", "fd", "host", "local", "name", "number", "sender", "user")

    def __init__(
        self,
        number: int,
        name: bytes,
        local: bytes,
        host: bytes,
        sender: bytes,
        user: User,
        fd: int,
        dsn: bytes = b"",
    ) -> None:
        self.number = number
        self.name = name
        self.local = local
        self.host = host
        self.sender = sender
        self.user = user
        self.fd = fd
        self.dsn = dsn


def order(request: AgentOrder) -> bytes:
    """Render one order."""
    return join(
        b"%d" % request.number,
        request.name,
        request.local,
        request.host,
        request.sender,
        request.dsn,
        *request.user.fields(),
    )


def split_orders(packet: bytes, descriptors: list[int]) -> list[AgentOrder]:
    """The orders of a packet, with their descriptors.  Fails: ValueError for what no spawner of ours sends."""
    parts = fields(packet)
    if len(parts) % _ORDER_FIELDS:
        raise ValueError("an order is cut short")
    starts = range(0, len(parts), _ORDER_FIELDS)
    fds = descriptors + [-1] * (len(starts) - len(descriptors))
    return [_order(parts[at : at + _ORDER_FIELDS], fd) for at, fd in zip(starts, fds, strict=True)]


def _order(parts: list[bytes], fd: int) -> AgentOrder:
    number, name, local, host, sender, dsn = parts[:_OWN_FIELDS]
    return AgentOrder(int(number), name, local, host, sender, User.from_fields(parts[_OWN_FIELDS:]), fd, dsn)


def how_many_fit(asked: list[tuple[int, User]]) -> int:
    """How many of these questions go into one packet; at least one."""
    size = 0
    for count, (_, user) in enumerate(asked, 1):
        size += sum(map(len, user.fields())) + _FIELD_BYTES
        if size >= MAX_BYTES:
            return count
    return len(asked)


def questions(asked: list[tuple[int, User]]) -> bytes:
    """Render questions: pairs of id and the user with the extension that is asked about."""
    return _QUESTION + b"".join([join(b"%d" % number, *user.fields()) for number, user in asked])


def split_questions(packet: bytes) -> list[tuple[int, User]]:
    """The questions of a packet; none where it holds orders.  Fails: ValueError for what no spawner of ours sends."""
    if not packet.startswith(_QUESTION):
        return []
    parts = fields(packet[len(_QUESTION) :])
    each = 1 + _USER_FIELDS
    if len(parts) % each:
        raise ValueError("a question is cut short")
    return [(int(parts[at]), User.from_fields(parts[at + 1 : at + each])) for at in range(0, len(parts), each)]


def report(number: int, durable: bool, text: bytes) -> bytes:
    """Render one report of what was not passed on; `text` begins with its letter and has no NUL."""
    return report_of(number, LASTING if durable else FLEETING, text)


def report_of(number: int, disposition: bytes, text: bytes) -> bytes:
    """Render one report."""
    return b"%d\0%b%b\0" % (number, disposition, text)


def durable(number: int) -> bytes:
    """Render the news that a report has become durable."""
    return b"%d\0Y\0" % number


def hand_back(number: int, is_slow: bool = False) -> bytes:
    """Render the request to give an order or a question to the agent of its user, who has been slow or not."""
    return b"%d\0%b\0" % (number, SLOW if is_slow else PERSONAL)


def split_reports(packet: bytes) -> list[tuple[int, bytes]]:
    """Pairs of id and what is said about it.  Fails: ValueError for what no agent of ours sends."""
    parts = fields(packet)
    return [(int(number), said) for number, said in zip(parts[::2], parts[1::2], strict=True)]
