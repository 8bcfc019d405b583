"""What the lines of the services mean: messages, deliveries, SMTP sessions; in both grammars of qmail-send.

Message and delivery numbers come back, so each message is followed from `new msg` to `end msg`. What is followed at a
time is bounded.

Fails: never; other lines are passed over.
Source: queue/format/send_log.py; smtpd/policy/outcome.py.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MAX_OPEN = 200_000
"""Messages, and deliveries, that are followed at a time; the oldest are given up first."""

_NEW = re.compile(rb"(?:qmail-send: (?:notice: )?)?new msg (\d+)$")
_INFO = re.compile(rb"(?:qmail-send: )?info:? msg (\d+): bytes (\d+) from <(.*)> qp (\d+) uid (\d+)$")
_START = re.compile(rb"(?:qmail-send: )?starting delivery (\d+): msg (\d+) to (local|remote) (.*)$")
_END_DELIVERY = re.compile(rb"(?:qmail-send: )?delivery (\d+): (success|deferral|failure): (.*)$")
_BOUNCE = re.compile(rb"(?:qmail-send: (?:notice: )?)?bounce msg (\d+) qp (\d+)$")
_END = re.compile(rb"(?:qmail-send: (?:notice: )?)?end msg (\d+)$")
_SMTP = re.compile(rb"(?:qmail-)?smtpd: (.*): (\S*) from (\S+) to (.*) helo (.*)$")
_AUDIT = re.compile(rb"qmail-send: audit: uid (\d+) (\w+) msg (\d+) from <.*>: (\w+)$")


class Step(NamedTuple):
    """One thing that happened to a message: when, which kind (`accepted`, `success` ...), whom it was about."""

    when: float | None
    kind: str
    recipient: bytes
    text: bytes


class TracedMessage:
    """One message: number, sender, size, and what happened, in order; `is_over` after `end msg`."""

    __slots__ = ("is_over", "number", "qp", "sender", "size", "steps")

    def __init__(self, number: int) -> None:
        self.number = number
        self.sender = b""
        self.size = 0
        self.qp = 0
        self.is_over = False
        self.steps: list[Step] = []

    def recipients(self) -> set[bytes]:
        """Everybody a delivery was started for."""
        return {step.recipient for step in self.steps if step.recipient}


class SmtpEvent(NamedTuple):
    """One line of the SMTP server: what was said of a client's command, and who was concerned."""

    when: float | None
    what: bytes
    sender: bytes
    client: bytes
    recipient: bytes
    helo: bytes


def follow(lines: Iterable[tuple[float | None, bytes]]) -> Iterator[TracedMessage | SmtpEvent]:
    """Yield each message when it ends, or when the lines do; and each event of the SMTP server."""
    messages: dict[int, TracedMessage] = {}
    deliveries: dict[int, tuple[TracedMessage, bytes]] = {}
    ended: TracedMessage | None = None  # the line behind its end may say who ended it

    def of(number: int) -> TracedMessage:
        if number not in messages:
            messages[number] = TracedMessage(number)
        return messages[number]

    for when, line in lines:
        text = line.rstrip(b"\n")
        audit = _AUDIT.match(text)
        if ended is not None and not (audit and int(audit[3]) == ended.number):
            yield ended
            ended = None
        if audit:
            concerned = ended or messages.get(int(audit[3]))
            if concerned is not None:
                concerned.steps.append(Step(when, audit[2].decode(), b"", b"by uid " + audit[1] + b": " + audit[4]))
        elif found := _START.match(text):
            message = of(int(found[2]))
            deliveries[int(found[1])] = (message, found[4])
            message.steps.append(Step(when, "attempt", found[4], found[3]))
            if len(deliveries) > MAX_OPEN:
                del deliveries[next(iter(deliveries))]
        elif found := _END_DELIVERY.match(text):
            about = deliveries.pop(int(found[1]), None)
            if about is not None:
                about[0].steps.append(Step(when, found[2].decode(), about[1], found[3]))
        elif found := _NEW.match(text):
            before = messages.pop(int(found[1]), None)
            if before is not None:
                yield before
            of(int(found[1])).steps.append(Step(when, "queued", b"", b""))
            if len(messages) > MAX_OPEN:
                yield messages.pop(next(iter(messages)))
        elif found := _INFO.match(text):
            message = of(int(found[1]))
            message.size, message.sender, message.qp = int(found[2]), found[3], int(found[4])
        elif found := _BOUNCE.match(text):
            of(int(found[1])).steps.append(Step(when, "bounced", b"", b"qp " + found[2]))
        elif found := _END.match(text):
            message = of(int(found[1]))
            message.steps.append(Step(when, "finished", b"", b""))
            message.is_over = True
            ended = messages.pop(int(found[1]))
        elif found := _SMTP.match(text):
            yield SmtpEvent(when, *found.groups())
    if ended is not None:
        yield ended
    yield from messages.values()
