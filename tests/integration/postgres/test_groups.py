"""How messages are grouped: they wait for a running transaction while few do, then another connection is used."""

from collections.abc import Callable
from typing import cast

from eqmail_core.queue.postgres.database import NodeIdentity
from eqmail_core.queue.postgres.message_writer import FULL, MessageWriter
from eqmail_core.queue.postgres.store import WRITERS
from eqmail_core.queue.postgres.worker import DatabaseWorker
from eqmail_core.queue.service.ports import Clock


class SlowWorker:
    """A connection whose transactions do not end."""

    def __init__(self) -> None:
        self.begun = 0

    def run(self, job: object, then: object) -> None:
        self.begun += 1


class ManualClock:
    """Calls when it is asked to."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], object]] = []

    def soon(self, call: Callable[[], object]) -> None:
        self._calls.append(call)

    def proceed(self) -> None:
        calls, self._calls = self._calls, []
        for call in calls:
            call()


def begun(*added_at_once: int) -> list[int]:
    """How many transactions each connection has begun, after so many items at a time."""
    workers = [SlowWorker() for _ in range(WRITERS)]
    clock = ManualClock()
    writer = MessageWriter(
        cast(list[DatabaseWorker], workers),
        cast(DatabaseWorker, SlowWorker()),
        NodeIdentity(),
        cast(Clock, clock),
        "",
        lambda message: None,
        lambda number: None,
        lambda number: True,
        lambda: None,
        lambda text: None,
    )
    number = 0
    for count in added_at_once:
        for _ in range(count):
            number += 1
            writer.remove(number)
        clock.proceed()
    return [worker.begun for worker in workers]


def test_what_comes_at_once_is_one_group() -> None:
    assert begun(FULL) == [1, 0, 0, 0]


def test_what_comes_during_a_group_waits_for_it() -> None:
    assert begun(1, *[1] * FULL) == [1, 0, 0, 0]


def test_a_full_group_lets_another_connection_begin() -> None:
    assert begun(1, *[1] * FULL, 1) == [1, 1, 0, 0]
    assert begun(1, *[1] * FULL * 20) == [1, 1, 1, 1]
