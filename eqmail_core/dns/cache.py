"""A bounded cache of DNS answers.

Fails: never.
"""

import time

from eqmail_core.dns.query import DnsAnswer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from eqmail_core.dns.query import DnsQuestion

CACHE_SIZE = 50000
"""Most records in the cache; an answer without records counts as one, every 64 bytes of text or TLSA data add one."""


class DnsCache:
    """DNS answers with their expiry times; at most `size` records, the oldest are removed first."""

    __slots__ = ("_answers", "_clock", "_records", "_size")

    def __init__(self, size: int = CACHE_SIZE, clock: "Callable[[], float]" = time.monotonic) -> None:
        self._answers: dict[DnsQuestion, tuple[float, DnsAnswer]] = {}
        self._records = 0
        self._size = size
        self._clock = clock

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, question: "DnsQuestion") -> DnsAnswer | None:
        """Return the answer if it is still valid, else None."""
        found = self._answers.get(question)
        if found is None:
            return None
        if found[0] <= self._clock():
            self._drop(question)
            return None
        return found[1]

    def put(self, question: "DnsQuestion", answer: DnsAnswer, seconds: float) -> None:
        """Store an answer for `seconds`; a temporary one is not stored."""
        if answer.is_temporary:
            return
        self._drop(question)
        weight = _records_of(answer)
        while self._answers and self._records + weight > self._size:
            self._drop(next(iter(self._answers)))
        self._answers[question] = (self._clock() + seconds, answer)
        self._records += weight

    def clear(self) -> None:
        """Remove all answers."""
        self._answers.clear()
        self._records = 0

    def _drop(self, question: "DnsQuestion") -> None:
        found = self._answers.pop(question, None)
        if found is not None:
            self._records -= _records_of(found[1])


def _records_of(answer: DnsAnswer) -> int:
    texts = [*answer.texts, *(data for *_, data in answer.tlsa)]
    return max(1, len(answer.names) + len(answer.addresses) + sum(1 + len(text) // 64 for text in texts))
