"""How `eqmail queue` shows messages and figures, to people and to programs."""

import json
from bisect import bisect
from collections import Counter
from collections.abc import Iterable

from eqmail_core.queue.admin.messages import QueuedMessage
from eqmail_core.queue.format.channels import HELD_UNTIL

AGES = ((300, "5 minutes"), (3600, "1 hour"), (14400, "4 hours"), (86400, "1 day"), (259200, "3 days"))
"""Limits of the classes of age, in seconds, with their names; older messages form the last class."""

_OLDER = "older"
_LIMITS = [limit for limit, _ in AGES]
_CLASSES = [*(name for _, name in AGES), _OLDER]


def display(text: bytes) -> str:
    """Untrusted text, made printable for a terminal."""
    words = text.decode("utf-8", "replace")
    if words.isprintable():
        return words
    return "".join(character if character.isprintable() else "?" for character in words)


def age(seconds: float) -> str:
    """A length of time in its two largest units."""
    left = max(int(seconds), 0)
    for unit, name, smaller, smaller_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if left >= unit:
            rest = left % unit // smaller
            return f"{left // unit}{name}{rest}{smaller_name}" if rest else f"{left // unit}{name}"
    return f"{left}s"


def size(count: int) -> str:
    """A number of bytes in its largest unit."""
    for unit, name in ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")):
        if count >= unit:
            return f"{count / unit:.1f}{name}"
    return str(count)


def lines_of(message: QueuedMessage, now: float) -> Iterable[str]:
    """A message as text: a line about it, and one for each recipient."""
    bouncing = "  bouncing" if message.bounces else ""
    about = f"#{message.number}  {message.state}  {age(now - message.birth)}  {size(message.size)}"
    yield f"{about}  <{display(message.sender)}>{bouncing}"
    for channel, done, address in message.recipients:
        when = "done" if done else _when(message, channel, now)
        yield f"    {channel or '?':6}  {display(address)}  {when}".rstrip()


def _when(message: QueuedMessage, channel: str, now: float) -> str:
    due = message.due.get(channel)
    if due is None or message.state in ("running", "memory"):
        return ""
    if due >= HELD_UNTIL:
        return "held"
    return f"in {age(due - now)}" if due > now else "due"


def value_of(message: QueuedMessage, now: float) -> dict[str, object]:
    """A message for programs; bytes that are no UTF-8 are escaped as JSON escapes lone surrogates."""
    return {
        "number": message.number,
        "state": message.state,
        "birth": int(message.birth),
        "age": int(now - message.birth),
        "size": message.size,
        "sender": message.sender.decode("utf-8", "surrogateescape"),
        "bouncing": message.bounces,
        "recipients": [
            {
                "channel": channel or None,
                "done": done,
                "address": address.decode("utf-8", "surrogateescape"),
                "due": None if done else message.due.get(channel),
            }
            for channel, done, address in message.recipients
        ],
    }


class QueueFigures:
    """What a queue consists of, counted message by message."""

    def __init__(self) -> None:
        self.messages = self.bytes = 0
        self.states: Counter[str] = Counter()
        self.channels: Counter[str] = Counter()
        self.domains: Counter[bytes] = Counter()
        self.ages: Counter[str] = Counter()
        self.oldest = 0.0

    def add(self, message: QueuedMessage, now: float) -> None:
        """Count a message, and its recipients that are not done."""
        self.messages += 1
        self.bytes += message.size
        self.states[message.state] += 1
        old = now - message.birth
        self.oldest = max(self.oldest, old)
        self.ages[_CLASSES[bisect(_LIMITS, old)]] += 1
        for channel, done, address in message.recipients:
            if not done:
                self.channels[channel or "new"] += 1
                self.domains[address.rpartition(b"@")[2].lower()] += 1

    def value(self, top: int, counters: dict[str, int]) -> dict[str, object]:
        """The figures for programs."""
        return {
            "messages": self.messages,
            "bytes": self.bytes,
            "oldest": int(self.oldest),
            "states": dict(self.states),
            "recipients": dict(self.channels),
            "domains": {display(domain): count for domain, count in self.domains.most_common(top)},
            "ages": {name: self.ages[name] for name in (*(name for _, name in AGES), _OLDER)},
            "scheduler": counters or None,
        }

    def lines(self, top: int, counters: dict[str, int]) -> Iterable[str]:
        """The figures for people."""
        yield f"messages: {self.messages}, {size(self.bytes)}, the oldest {age(self.oldest)}"
        yield from _table("messages by state", self.states.most_common())
        yield from _table("waiting recipients by channel", self.channels.most_common())
        domains = [(display(domain), count) for domain, count in self.domains.most_common(top)]
        more = len(self.domains) - len(domains)
        yield from _table("waiting recipients by domain" + (f" ({more} more)" if more else ""), domains)
        yield from _table("messages by age, younger than", [(name, self.ages[name]) for _, name in AGES])
        yield f"  {_OLDER:24}  {self.ages[_OLDER]}"
        if counters:
            yield from _table("scheduler", list(counters.items()))
        else:
            yield "scheduler: none answers; the figures are those of the files"


def _table(title: str, rows: list[tuple[str, int]]) -> Iterable[str]:
    yield f"{title}:"
    for name, count in rows:
        yield f"  {name:24}  {count}"


def to_json(value: object) -> str:
    """One value as JSON on one line."""
    return json.dumps(value, ensure_ascii=True)
