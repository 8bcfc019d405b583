"""Figures of a stretch of log: messages, deliveries by result, what refused and why."""

import re
from collections import Counter
from collections.abc import Iterable

from eqmail_setup.logs.events import SmtpEvent, TracedMessage

MAX_DISTINCT = 50_000
"""Different texts and domains that are counted; further ones count as `(others)`."""

RESULTS = ("success", "deferral", "failure")

_OTHERS = "(others)"
_NUMBERS = re.compile(r"\d+(?:\.\d+){3}|\b\d{2,}\b")
_STATUS = re.compile(r"\(#(\d\.\d+\.\d+)\)|\b([245]\.\d{1,3}\.\d{1,3})\b")


class LogSummary:
    """Counts what `logs.events.follow` yields."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.last: float | None = None
        self.messages = self.bytes = self.bounces = 0
        self.deliveries: Counter[tuple[str, str]] = Counter()
        self.reasons: dict[str, Counter[str]] = {result: Counter() for result in RESULTS[1:]}
        self.domains: Counter[str] = Counter()
        self.senders: Counter[str] = Counter()
        self.smtp: Counter[str] = Counter()

    def add_all(self, found: Iterable[TracedMessage | SmtpEvent]) -> None:
        """Count all of them."""
        for item in found:
            if isinstance(item, TracedMessage):
                self._add_message(item)
            else:
                self._note_time(item.when)
                _count(self.smtp, _general(item.what))

    def _add_message(self, message: TracedMessage) -> None:
        channels: dict[bytes, str] = {}
        for step in message.steps:
            self._note_time(step.when)
            if step.kind == "queued":
                self.messages += 1
                self.bytes += message.size
                _count(self.senders, message.sender.decode("utf-8", "replace") or "<>")
            elif step.kind == "attempt":
                channels[step.recipient] = step.text.decode()
            elif step.kind == "bounced":
                self.bounces += 1
            elif step.kind in RESULTS:
                self.deliveries[channels.get(step.recipient, "?"), step.kind] += 1
                _count(self.domains, step.recipient.rpartition(b"@")[2].decode("utf-8", "replace").lower())
                if step.kind != "success":
                    _count(self.reasons[step.kind], _general(step.text))

    def _note_time(self, when: float | None) -> None:
        if when is not None:
            self.first = when if self.first is None else min(self.first, when)
            self.last = when if self.last is None else max(self.last, when)

    def value(self, top: int) -> dict[str, object]:
        """The figures for programs."""
        return {
            "first": self.first,
            "last": self.last,
            "messages": self.messages,
            "bytes": self.bytes,
            "bounces": self.bounces,
            "deliveries": [
                {"channel": channel, "result": result, "count": count}
                for (channel, result), count in sorted(self.deliveries.items())
            ],
            "reasons": [
                {"result": result, "reason": reason, "count": count}
                for result, counter in self.reasons.items()
                for reason, count in counter.most_common(top)
            ],
            "recipient_domains": dict(self.domains.most_common(top)),
            "senders": dict(self.senders.most_common(top)),
            "smtp": dict(self.smtp.most_common(top)),
        }


def _general(text: bytes) -> str:
    """A report without what differs from one delivery to the next: numbers and addresses; underscores are blanks."""
    words = text.decode("utf-8", "replace").replace("_", " ").strip().rstrip("/")
    status = _STATUS.search(words)
    code = (status[1] or status[2]) if status else ""
    short = _NUMBERS.sub("N", _STATUS.sub("", words)).strip()[:100]
    return f"{code} {short}".strip()


def _count(counter: Counter[str], key: str) -> None:
    counter[key if key in counter or len(counter) < MAX_DISTINCT else _OTHERS] += 1
