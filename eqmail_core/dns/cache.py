"""Answers of the DNS that are kept for a while.

Fails: never.
"""

import time

from eqmail_core.dns.query import DnsAnswer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from eqmail_core.dns.query import DnsQuestion

CACHE_SIZE = 50000
"""Records that are kept at most; an answer without any counts as one."""


class DnsCache:
    """Answers with the time until which they hold; so many records, the oldest go first."""

    __slots__ = ("_answers", "_clock", "_records", "_size")

    def __init__(self, size: int = CACHE_SIZE, clock: "Callable[[], float]" = time.monotonic) -> None:
        self._answers: dict[DnsQuestion, tuple[float, DnsAnswer]] = {}
        self._records = 0
        self._size = size
        self._clock = clock

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, question: "DnsQuestion") -> DnsAnswer | None:
        """The answer that is still valid, None where there is none."""
        found = self._answers.get(question)
        if found is None:
            return None
        if found[0] <= self._clock():
            self._drop(question)
            return None
        return found[1]

    def put(self, question: "DnsQuestion", answer: DnsAnswer, seconds: float) -> None:
        """Keep an answer for a while; one that is temporary is not kept."""
        if answer.is_temporary:
            return
        self._drop(question)
        weight = _records_of(answer)
        while self._answers and self._records + weight > self._size:
            self._drop(next(iter(self._answers)))
        self._answers[question] = (self._clock() + seconds, answer)
        self._records += weight

    def clear(self) -> None:
        """Forget everything."""
        self._answers.clear()
        self._records = 0

    def _drop(self, question: "DnsQuestion") -> None:
        found = self._answers.pop(question, None)
        if found is not None:
            self._records -= _records_of(found[1])


def _records_of(answer: DnsAnswer) -> int:
    return max(1, len(answer.names) + len(answer.addresses))
