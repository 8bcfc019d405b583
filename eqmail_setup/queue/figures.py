"""What a queue consists of, counted message by message: by state, channel, age, and domain and age."""

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterator

from eqmail_core.queue.admin.messages import QueuedMessage
from eqmail_setup.queue.presentation import age, display, size

AGES = ((300, "5m"), (3600, "1h"), (14400, "4h"), (86400, "1d"), (259200, "3d"))
"""Limits of the classes of age, in seconds, with their names; older messages form the last class."""

OLDER = "older"

_LIMITS = [limit for limit, _ in AGES]
_CLASSES = [*(name for _, name in AGES), OLDER]


class QueueFigures:
    """Counts messages, and their recipients that wait."""

    def __init__(self) -> None:
        self.messages = self.bytes = self.recipients = 0
        self.states: Counter[str] = Counter()
        self.channels: Counter[str] = Counter()
        self.ages: Counter[str] = Counter()
        self.domains: Counter[bytes] = Counter()
        self.oldest = 0.0
        self._domain_ages: defaultdict[bytes, Counter[str]] = defaultdict(Counter)

    def add(self, message: QueuedMessage, now: float) -> None:
        """Count a message, and its recipients that are not done."""
        self.messages += 1
        self.bytes += message.size
        self.states[message.state] += 1
        old = now - message.birth
        self.oldest = max(self.oldest, old)
        name = _CLASSES[bisect(_LIMITS, old)]
        self.ages[name] += 1
        for channel, done, address in message.recipients:
            if not done:
                domain = address.rpartition(b"@")[2].lower()
                self.recipients += 1
                self.channels[channel or "new"] += 1
                self.domains[domain] += 1
                self._domain_ages[domain][name] += 1

    def total(self) -> str:
        """One line: messages, recipients, bytes, age of the oldest."""
        parts = [_counted(self.messages, "message"), _counted(self.recipients, "recipient"), size(self.bytes)]
        return ", ".join([*parts, f"oldest {age(self.oldest)}"] if self.messages else parts[:1])

    def domain_rows(self, top: int) -> Iterator[tuple[str, ...]]:
        """Cells: domain, its waiting recipients, and those in each class of age; the largest domains first."""
        for domain, count in self.domains.most_common(top):
            ages = self._domain_ages[domain]
            yield (display(domain) or "(none)", str(count), *(str(ages[name] or "") for name in _CLASSES))
        more = len(self.domains) - top
        if more > 0:
            yield (f"({more} more)", *[""] * (len(_CLASSES) + 1))

    def value(self, top: int, counters: dict[str, int]) -> dict[str, object]:
        """The figures for programs."""
        largest = self.domains.most_common(top)
        return {
            "messages": self.messages,
            "recipients_waiting": self.recipients,
            "bytes": self.bytes,
            "oldest": int(self.oldest),
            "states": dict(self.states),
            "recipients": dict(self.channels),
            "domains": {display(domain): count for domain, count in largest},
            "domain_ages": {display(domain): dict(self._domain_ages[domain]) for domain, _ in largest},
            "ages": {name: self.ages[name] for name in _CLASSES},
            "scheduler": counters or None,
        }


def age_headers() -> list[str]:
    """Headers of the columns of `domain_rows` behind the total."""
    return [*(f"<{name}" for _, name in AGES), OLDER]


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
