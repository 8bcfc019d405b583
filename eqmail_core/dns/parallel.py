"""Several searches (as in `dns.mx`) as one that asks their questions side by side.

Fails: as the searches do.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from eqmail_core.dns.mx import Search
    from eqmail_core.dns.query import DnsAnswer, DnsQuestion


def together(*searches: "Search[Any]") -> "Search[list[Any]]":
    """Run searches side by side, each as if it were alone; return what each of them found."""
    found: list[Any] = [None] * len(searches)
    waiting: dict[int, list[DnsQuestion]] = {}

    def advance(place: int, answers: "list[DnsAnswer] | None") -> None:
        try:
            waiting[place] = searches[place].send(answers)  # type: ignore[arg-type]  # None starts a generator
        except StopIteration as end:
            found[place] = end.value

    for place in range(len(searches)):
        advance(place, None)
    while waiting:
        asked, waiting = waiting, {}
        answers = yield [question for questions in asked.values() for question in questions]
        start = 0
        for place, questions in asked.items():
            advance(place, answers[start : start + len(questions)])
            start += len(questions)
    return found
