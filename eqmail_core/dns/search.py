"""Run searches (as in `dns.mx`) to their end over a resolver: bounded in time, and in the number of names.

What is not answered within these bounds is answered by NO_ANSWER, so that a search always ends.

Fails: as the search does.
"""

import time

from eqmail_core.dns.query import NO_ANSWER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from eqmail_core.dns.mx import Search
    from eqmail_core.dns.query import DnsAnswer, DnsQuestion
    from eqmail_core.dns.resolver import AsyncResolver, BlockingResolver

    Found = TypeVar("Found")

MAX_NAMES = 64
"""Most questions of one search."""


async def run_search(
    resolver: "AsyncResolver", search: "Search[Found]", within_s: float, max_names: int = MAX_NAMES
) -> "Found":
    """Run a search on an event loop, within `within_s` seconds."""
    until = time.monotonic() + within_s
    answers: list[DnsAnswer] | None = None
    while True:
        try:
            questions = next(search) if answers is None else search.send(answers)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # StopIteration is not generic
        asked = questions[:max_names]
        max_names -= len(asked)
        left_s = until - time.monotonic()
        answers = await resolver.answers(asked, left_s) if asked and left_s > 0 else [NO_ANSWER] * len(asked)
        answers += [NO_ANSWER] * (len(questions) - len(asked))


def run_search_blocking(
    resolver: "BlockingResolver", search: "Search[Found]", within_s: float, max_names: int = MAX_NAMES
) -> "Found":
    """Run a search, one question after the other, within `within_s` seconds."""
    until = time.monotonic() + within_s

    def answer(question: "DnsQuestion") -> "DnsAnswer":
        nonlocal max_names
        max_names -= 1
        left_s = until - time.monotonic()
        return resolver.answer(question, left_s) if max_names >= 0 and left_s > 0 else NO_ANSWER

    answers: Any = None
    while True:
        try:
            questions = search.send(answers)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # as above
        answers = [answer(question) for question in questions]
