"""The private protocol between the local spawner and its workers: agents and the carrier.

    spawner  id NUL name NUL local NUL host NUL sender NUL dsn NUL user ...
                                                                        orders, each with a descriptor, in order
             ? NUL id NUL user ...                                      questions: is this recipient deliverable?
             ! NUL                                                      probe: is the worker alive?
    agent    id NUL disposition, outcome, text NUL ...                  reports, as in ipc.delivery_protocol
             id NUL Y NUL ...                                           this report is durable now
             0 NUL A NUL                                                answer to a probe
    carrier  id NUL P NUL ...                                           this needs the agent of its user
             id NUL L NUL ...                                           the same; the user keeps the agent for a while

The disposition (outcome.py) is 0 for a delivery that is not durable yet and 1 for a durable one.  It is 2 or 3 for a
durable one that was passed on: 2 to a single address together with the DSN parameters; 3 to several.

A user is six fields, each ended by NUL.  A packet holds one or more items of one kind.  An answer is a report that is
durable at once.  An id is a decimal number from 1; the spawner never reuses one.  The spawner accepts a report only
from the worker that it gave the order to.

Source: docs/INTERNALS.md section 5.
"""

from eqmail_core.outcome import (
    DONE,
    DSN_RELAYED,
    DURABLE,
    EXIT_OF,
    EXPANDED,
    NOT_DURABLE,
    DeliveryResult,
    Disposition,
)
from eqmail_core.text.framing import fields, join
from eqmail_core.users.user import User

MAX_ORDERS = 64
"""Maximum number of orders in one packet: the system passes at most 253 descriptors at once."""

MAX_BYTES = 65536
"""A packet is full when it has this many bytes; one more order or report still fits."""

NAME = "qmail-lspawn"
"""Begins the log lines of the service."""

BECAME_DURABLE = b"Y"
PERSONAL, SLOW = b"P", b"L"

PROBE = b"!\0"
ALIVE = b"A"
PRESENT = b"0\0A\0"
"""The probe of an agent, the text of its answer, and the whole answer packet."""

_NOTICES = (BECAME_DURABLE, PERSONAL, SLOW, ALIVE)
_BEGINNINGS = {NOT_DURABLE + DONE} | {
    disposition + letter for disposition in (DURABLE, DSN_RELAYED, EXPANDED) for letter in EXIT_OF
}

_QUESTION = b"?\0"
# Size of an id and of the NULs of a question.
_FIELD_BYTES = 32

_OWN_FIELDS = 6
_USER_FIELDS = 6
_ORDER_FIELDS = _OWN_FIELDS + _USER_FIELDS


class AgentOrder:
    """One delivery to make for `user`; `fd` is the message, -1 if it was lost in transit."""

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
    """Parse the orders of a packet, with their descriptors.

    Fails: ValueError for a packet that the spawner never sends.
    """
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
    """Count the questions that go into one packet; at least one."""
    size = 0
    for count, (_, user) in enumerate(asked, 1):
        size += sum(map(len, user.fields())) + _FIELD_BYTES
        if size >= MAX_BYTES:
            return count
    return len(asked)


def questions(asked: list[tuple[int, User]]) -> bytes:
    """Render questions: pairs of id and user; the extension of the user is the one to check."""
    return _QUESTION + b"".join([join(b"%d" % number, *user.fields()) for number, user in asked])


def split_questions(packet: bytes) -> list[tuple[int, User]]:
    """Parse the questions of a packet; an empty list if it holds orders.

    Fails: ValueError for a packet that the spawner never sends.
    """
    if not packet.startswith(_QUESTION):
        return []
    parts = fields(packet[len(_QUESTION) :])
    each = 1 + _USER_FIELDS
    if len(parts) % each:
        raise ValueError("a question is cut short")
    return [(int(parts[at]), User.from_fields(parts[at + 1 : at + each])) for at in range(0, len(parts), each)]


def report(number: int, result: DeliveryResult) -> bytes:
    """Render one report; its text has no NUL."""
    return b"%d\0%b%b%b\0" % (number, result.disposition, result.outcome, result.text)


def is_valid(result: DeliveryResult) -> bool:
    """Tell whether a worker may report this: a result that is not durable yet is a success."""
    return result.disposition + result.outcome in _BEGINNINGS


def durable(number: int) -> bytes:
    """Render the notice that a report has become durable."""
    return b"%d\0Y\0" % number


def hand_back(number: int, is_slow: bool = False) -> bytes:
    """Render the return of an order or a question, for the agent of its user.

    `is_slow`: the user took too long.
    """
    return b"%d\0%b\0" % (number, SLOW if is_slow else PERSONAL)


def split_reports(packet: bytes) -> list[tuple[int, DeliveryResult | bytes]]:
    """Parse pairs of id and result, or of id and notice: BECAME_DURABLE, PERSONAL, SLOW or ALIVE.

    Fails: ValueError for a packet that no worker sends.
    """
    parts = fields(packet)
    return [(int(number), _result_of(said)) for number, said in zip(parts[::2], parts[1::2], strict=True)]


def _result_of(text: bytes) -> DeliveryResult | bytes:
    return text if text in _NOTICES else DeliveryResult.from_report(text[1:], Disposition(text[:1]))
