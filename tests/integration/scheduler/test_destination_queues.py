"""Who waits for which destination, and who is called."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.control.remote_limits import Limit
from eqmail_core.scheduler import destination_queues as queues_module
from eqmail_core.scheduler.destination_queues import MAX_WAIT_S, DestinationQueue, DestinationQueues
from tests.unit.scheduler.test_destination import ENOUGH, NOBODY, YES


class QueuesHarness:
    """A waiting room, and what runs."""

    def __init__(self, places: int = 20, limits: dict[bytes, Limit] | None = None, waiting_queues: int = 1000) -> None:
        self.waiting_queues: DestinationQueues[str] = DestinationQueues(places, limits, waiting_queues)
        self.places = places
        self.queues: dict[str, DestinationQueue[str]] = {}
        self.running: list[str] = []
        self.turned_away: list[tuple[str, bytes]] = []
        self.now = 1000.0

    def enter(self, domain: str, *names: object) -> None:
        for name in names:
            self.queues[f"{domain}{name}"] = self.waiting_queues.enqueue(domain.encode(), f"{domain}{name}", self.now)

    def call(self) -> list[str]:
        """Start every delivery that may start; their names."""
        began = []
        while len(self.running) < self.places and (called := self.waiting_queues.next_ready(self.now)):
            waiting, reason = called
            if reason:
                self.turned_away.append((waiting, reason))
            else:
                began.append(waiting)
                self.running.append(waiting)
        return began

    def end(self, name: str, report: tuple[bytes, bytes] = YES) -> None:
        self.running.remove(name)
        self.waiting_queues.delivery_ended(self.queues[name], *report, self.now)

    def prove(self, *domains: str) -> None:
        for domain in domains:
            self.enter(domain, "!")
            assert self.call() == [f"{domain}!"]
            self.end(f"{domain}!")

    def widen(self, domain: str) -> None:
        for _ in range(40):
            self.prove(domain)


def test_destinations_are_called_in_turn() -> None:
    harness = QueuesHarness()
    harness.enter("a", 1, 2, 3)
    harness.enter("b", 1, 2)
    harness.enter("c", 1)
    assert harness.call() == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_no_destination_gets_all_places() -> None:
    harness = QueuesHarness(places=20)
    harness.widen("a")
    harness.enter("a", *range(100))
    assert len(harness.call()) == 18
    harness.enter("b", 1)
    assert harness.call() == ["b1"]


def test_a_single_slot_is_used() -> None:
    harness = QueuesHarness(places=1)
    harness.enter("a", 1)
    assert harness.call() == ["a1"]


def test_possibly_dead_destinations_leave_a_slot_for_live_ones() -> None:
    harness = QueuesHarness(places=8)
    harness.prove("good")
    for number in range(100):
        harness.enter(f"dead{number}-", 1)
    assert len(harness.call()) == 7
    harness.enter("good", 1)
    assert harness.call() == ["good1"]
    for name in list(harness.running):
        if name != "good1":
            harness.end(name, NOBODY)
    assert len(harness.call()) == 7


def test_deliveries_to_a_dead_destination_are_deferred() -> None:
    harness = QueuesHarness()
    harness.enter("dead", *range(10))
    assert harness.call() == ["dead0", "dead1", "dead2", "dead3", "dead4"]
    for number in range(3):
        harness.end(f"dead{number}", NOBODY)
    assert harness.call() == []
    assert [name for name, _ in harness.turned_away] == [f"dead{number}" for number in range(5, 10)]
    assert harness.turned_away[0][1] == b"Left alone until one delivery has an answer, after: " + NOBODY[1]
    harness.end("dead3", NOBODY)
    harness.end("dead4", NOBODY)
    harness.now += 100
    harness.enter("dead", 10, 11)
    assert harness.call() == ["dead10"]
    assert [name for name, _ in harness.turned_away[5:]] == ["dead11"]
    harness.end("dead10")
    harness.enter("dead", 12)
    assert harness.call() == ["dead12"]


def test_a_stuck_destination_defers_its_queue_after_a_minute() -> None:
    harness = QueuesHarness()
    harness.enter("slow", *range(6))
    assert len(harness.call()) == 5
    wakes_at = harness.waiting_queues.wakes_at()
    assert wakes_at == harness.now + MAX_WAIT_S
    harness.now = wakes_at
    assert harness.call() == []
    assert harness.turned_away == [
        ("slow5", b"Too much mail for this destination at a time; this one has to wait. (#4.4.5)\n")
    ]
    assert harness.waiting_queues.waiting == 0


def test_a_moving_destination_keeps_its_queue() -> None:
    harness = QueuesHarness(limits={b"one": Limit(concurrency=1)})
    harness.enter("one", *range(10))
    for number in range(10):
        assert harness.call() == [f"one{number}"]
        harness.now += MAX_WAIT_S - 1
        harness.end(f"one{number}")
    assert not harness.turned_away


def test_a_rate_limit_delays_no_other_destination() -> None:
    harness = QueuesHarness(limits={b"rare": Limit(spacing_s=10.0)})
    harness.enter("rare", 1, 2)
    harness.enter("often", 1, 2)
    assert harness.call() == ["rare1", "often1", "often2"]
    assert harness.waiting_queues.wakes_at() == harness.now + 10
    harness.now += 10
    assert harness.call() == ["rare2"]


def test_a_deferring_destination_gets_a_pause() -> None:
    harness = QueuesHarness()
    harness.enter("tired", 1)
    harness.call()
    harness.end("tired1", ENOUGH)
    harness.enter("tired", 2)
    assert harness.call() == []
    assert harness.waiting_queues.wakes_at() == harness.now + 1
    harness.now += 1
    assert harness.call() == ["tired2"]


def test_other_limits_count_at_once() -> None:
    harness = QueuesHarness(limits={b"*": Limit(concurrency=1)})
    harness.enter("a", 1, 2)
    assert harness.call() == ["a1"]
    harness.waiting_queues.limit_by(None)
    assert harness.call() == ["a2"]


def test_the_queue_space_is_shared_and_always_has_room_for_another_destination() -> None:
    harness = QueuesHarness(waiting_queues=100)
    for domain in ("a", "b", "c"):
        number = 0
        while harness.waiting_queues.has_space(domain.encode()):
            harness.enter(domain, number)
            number += 1
    counts = Counter(name[0] for name in harness.queues)
    assert counts["a"] == 34
    assert harness.waiting_queues.has_space(b"d")
    assert not harness.waiting_queues.has_space(b"a", factor=4)


def test_waiting_deliveries_can_be_removed() -> None:
    harness = QueuesHarness()
    harness.enter("a", 1, 2)
    harness.enter("b", 1)
    assert harness.waiting_queues.remove(lambda name: name.endswith("1")) == ["a1", "b1"]
    assert harness.waiting_queues.waiting == 1
    assert harness.call() == ["a2"]


def test_a_forced_retry_resets_the_state() -> None:
    harness = QueuesHarness()
    harness.enter("dead", 1, 2, 3)
    for name in harness.call():
        harness.end(name, NOBODY)
    harness.enter("dead", 4)
    harness.waiting_queues.retry_all()
    assert harness.call() == ["dead4"]


def test_the_number_of_remembered_destinations_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues_module, "MAX_DESTINATIONS", 10)
    harness = QueuesHarness()
    for number in range(50):
        harness.prove(f"d{number}-")
        assert len(harness.waiting_queues._queues) <= 10


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["enter", "call", "end", "wait", "take"]),
        st.sampled_from("abc"),
        st.sampled_from([YES, NOBODY, ENOUGH]),
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 9))
def test_no_delivery_is_lost_or_started_twice(steps: list[tuple[str, str, tuple[bytes, bytes]]], places: int) -> None:
    harness = QueuesHarness(places)
    entered: list[str] = []
    gone: list[str] = []
    for step, domain, report in steps:
        if step == "enter":
            harness.enter(domain, len(entered))
            entered.append(f"{domain}{len(entered)}")
        elif step == "call":
            gone += harness.call()
        elif step == "end" and harness.running:
            harness.end(harness.running[0], report)
        elif step == "wait":
            harness.now += 7.0
        elif step == "take":
            gone += harness.waiting_queues.remove(lambda name, domain=domain: name.startswith(domain))  # type: ignore[misc]
    for _ in range(500):
        if not harness.waiting_queues.waiting:
            break
        gone += harness.call()
        for name in list(harness.running):
            harness.end(name)
        harness.now = max(harness.now + 1, harness.waiting_queues.wakes_at() or 0)
    away = [name for name, _ in harness.turned_away]
    assert sorted(gone + away) == sorted(entered)
    assert harness.waiting_queues._unproven == sum(
        queue.destination.running
        for queue in harness.waiting_queues._queues.values()
        if not queue.destination.is_proven
    )
