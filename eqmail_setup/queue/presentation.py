"""How `eqmail queue` shows messages: rows of a table for people, values for programs."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from eqmail_core.control.controls import Controls
from eqmail_core.control.list_kinds import NO_END, render_time
from eqmail_core.dsn.parameters import ADDRESS, HELD, LOGIN, UID
from eqmail_core.queue.admin.messages import QueuedMessage
from eqmail_core.queue.format.attempts import Attempts, FailedAttempts
from eqmail_core.queue.format.channels import CHANNELS, HELD_UNTIL
from eqmail_core.scheduler.suspension import suspension_of

MAX_ROWS = 5
"""Recipients of one message that a list shows; the rest are counted."""

# The report of a delivery: C's words, the enhanced status code, and perhaps what exactly happened.
_REPORT = re.compile(r"(.*?)\s*\(#([245]\.\d{1,3}\.\d{1,3})\)\s*(?:\((.+)\))?")
_FACTS = {LOGIN: "login", ADDRESS: "client", UID: "uid"}
_CHANNEL_NUMBERS = {name: index for index, name in enumerate(CHANNELS)}


class WaitingRecipient(NamedTuple):
    """One recipient of a message.

    `due`: time of the next attempt, None where it is not known. `attempts`: the failed ones, None for none on record.
    `suspended_until`: end of the suspension of its domain, NO_END for none; None where it is not suspended.
    """

    channel: str
    done: bool
    address: bytes
    due: int | None
    attempts: FailedAttempts | None
    suspended_until: int | None


class QueueKnowledge(NamedTuple):
    """What is known beside the files of messages: failed attempts, and domains that are suspended."""

    attempts: Attempts
    suspended: dict[bytes, int]

    def recipients_of(self, message: QueuedMessage, now: float) -> list[WaitingRecipient]:
        """All recipients of a message with what is known about each."""
        known = message.attempts or self.attempts.get((message.number, int(message.birth)), {})
        found = []
        for (channel, done, address), offset in zip(message.recipients, message.offsets, strict=True):
            attempts = known.get((_CHANNEL_NUMBERS.get(channel, -1), offset))
            suspension = None if done else suspension_of(self.suspended, address.rpartition(b"@")[2], now)
            due = None if done else message.due.get(channel)
            found.append(WaitingRecipient(channel, done, address, due, attempts, suspension))
        return found


def display(text: bytes) -> str:
    """Untrusted text for a terminal."""
    words = text.decode("utf-8", "replace")
    if words.isprintable():
        return words
    return "".join(character if character.isprintable() else "?" for character in words)


def age(seconds: float) -> str:
    """A length of time in its two largest units, such as 2m 10s."""
    left = max(int(seconds), 0)
    for unit, name, smaller, smaller_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if left >= unit:
            rest = left % unit // smaller
            return f"{left // unit}{name} {rest}{smaller_name}" if rest else f"{left // unit}{name}"
    return f"{left}s"


def size(count: int) -> str:
    """A number of bytes in its largest unit, such as 2.5 KB."""
    for unit, name in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} B"


def reason_of(recipient: WaitingRecipient, now: float) -> str:
    """Why a recipient waits: the enhanced status code first, then what exactly happened."""
    if recipient.done:
        return ""
    if recipient.suspended_until is not None:
        until = (
            "" if recipient.suspended_until == NO_END else f" until {render_time(recipient.suspended_until).decode()}"
        )
        return f"domain suspended{until}"
    if recipient.attempts is None:
        return ""
    text = display(recipient.attempts.reason).strip()
    report = _REPORT.fullmatch(text)
    return f"{report[2]} {report[3] or report[1]}" if report else text


def next_attempt(message: QueuedMessage, recipient: WaitingRecipient, now: float) -> str:
    """When a recipient is tried again: a length of time, `held`, `now`, or nothing where it is not known."""
    if recipient.done:
        return "done"
    if message.state in ("running", "memory", "new") or recipient.due is None:
        return ""
    if recipient.due >= HELD_UNTIL:
        return "held"
    return age(recipient.due - now) if recipient.due > now else "now"


def rows_of(message: QueuedMessage, knowledge: QueueKnowledge, now: float) -> Iterator[tuple[str, ...]]:
    """Cells ID STATE AGE SIZE NEXT SENDER RECIPIENT REASON, a row for each recipient that waits."""
    waiting = [item for item in knowledge.recipients_of(message, now) if not item.done]
    state = f"{message.state}+bounce" if message.bounces else message.state
    head = (str(message.number), state, age(now - message.birth), size(message.size))
    sender = display(message.sender) or "<>"
    if not waiting:
        yield (*head, "", sender, "", "")
    for count, item in enumerate(waiting[:MAX_ROWS]):
        held = message.facts.get(HELD, b"") if message.state == "held" else b""
        cells = (display(item.address), display(held) or reason_of(item, now))
        following = next_attempt(message, item, now)
        yield (*head, following, sender, *cells) if count == 0 else ("", "", "", "", following, "", *cells)
    if len(waiting) > MAX_ROWS:
        yield ("", "", "", "", "", "", f"({len(waiting) - MAX_ROWS} more)", "")


def lines_of(message: QueuedMessage, knowledge: QueueKnowledge, now: float) -> Iterator[tuple[str, str]]:
    """Labels and texts about one message; a label is empty where its field goes on."""
    yield "Message", str(message.number)
    where = f" at {message.node}" if message.node else ""
    yield "State", message.state + where + (", a bounce is noted" if message.bounces else "")
    yield "Age", f"{age(now - message.birth)} (since {render_time(int(message.birth)).decode()})"
    yield "Size", size(message.size)
    yield "Sender", display(message.sender) or "<>"
    submitter = submitter_of(message)
    if submitter:
        yield "Submitter", submitter
    if message.state == "held" and HELD in message.facts:
        yield "Held", f"{display(message.facts[HELD])} (control/{Controls.submissionlimits.file})"
    for item in knowledge.recipients_of(message, now):
        following = next_attempt(message, item, now)
        when = (
            f", next attempt {'in ' if following[:1].isdigit() else ''}{following}" if following != "done" else ", done"
        )
        channel = item.channel or "not preprocessed"
        yield "Recipient", f"{display(item.address)} ({channel}{when if following else ''})"
        if item.attempts is not None and not item.done:
            count = f"{item.attempts.tries} attempt{'s' if item.attempts.tries > 1 else ''}"
            yield "", f"{count}, last {age(now - item.attempts.last)} ago: {display(item.attempts.reason)}"
        if item.suspended_until is not None:
            yield "", reason_of(item, now)


def submitter_of(message: QueuedMessage) -> str:
    """Who submitted a message, as far as the queue was told: login, client address or uid."""
    facts = message.facts
    return ", ".join(f"{label} {display(facts[letter])}" for letter, label in _FACTS.items() if letter in facts)


def value_of(message: QueuedMessage, knowledge: QueueKnowledge, now: float) -> dict[str, object]:
    """A message for programs; bytes that are no UTF-8 are escaped as JSON escapes lone surrogates."""
    return {
        "number": message.number,
        "state": message.state,
        "birth": int(message.birth),
        "age": int(now - message.birth),
        "size": message.size,
        "sender": message.sender.decode("utf-8", "surrogateescape"),
        "bouncing": message.bounces,
        "submitter": {
            label: message.facts[letter].decode("utf-8", "surrogateescape")
            for letter, label in _FACTS.items()
            if letter in message.facts
        },
        "held_because": display(message.facts[HELD]) if message.state == "held" and HELD in message.facts else None,
        "recipients": [_recipient_value(item) for item in knowledge.recipients_of(message, now)],
    }


def _recipient_value(item: WaitingRecipient) -> dict[str, object]:
    attempts = item.attempts
    return {
        "channel": item.channel or None,
        "done": item.done,
        "address": item.address.decode("utf-8", "surrogateescape"),
        "due": item.due,
        "attempts": attempts.tries if attempts else 0,
        "last_attempt": attempts.last if attempts else None,
        "reason": attempts.reason.decode("utf-8", "replace") if attempts else None,
        "suspended_until": item.suspended_until,
    }
