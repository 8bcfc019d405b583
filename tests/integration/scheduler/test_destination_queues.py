"""Who waits for which destination, and who is called."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.control.remote_limits import Limit
from eqmail_core.scheduler import destination_queues as waiting_room
from eqmail_core.scheduler.destination_queues import MAX_WAIT_S, DestinationQueue, DestinationQueues
from tests.unit.scheduler.test_destination import ENOUGH, NOBODY, YES


class Play:
    """A waiting room, and what runs."""

    def __init__(self, places: int = 20, limits: dict[bytes, Limit] | None = None, room: int = 1000) -> None:
        self.room: DestinationQueues[str] = DestinationQueues(places, limits, room)
        self.places = places
        self.queues: dict[str, DestinationQueue[str]] = {}
        self.running: list[str] = []
        self.turned_away: list[tuple[str, bytes]] = []
        self.now = 1000.0

    def enter(self, domain: str, *names: object) -> None:
        for name in names:
            self.queues[f"{domain}{name}"] = self.room.enqueue(domain.encode(), f"{domain}{name}", self.now)

    def call(self) -> list[str]:
        """Start whoever can start; the names."""
        began = []
        while len(self.running) < self.places and (called := self.room.next_ready(self.now)):
            waiting, reason = called
            if reason:
                self.turned_away.append((waiting, reason))
            else:
                began.append(waiting)
                self.running.append(waiting)
        return began

    def end(self, name: str, report: tuple[bytes, bytes] = YES) -> None:
        self.running.remove(name)
        self.room.delivery_ended(self.queues[name], *report, self.now)

    def prove(self, *domains: str) -> None:
        for domain in domains:
            self.enter(domain, "!")
            assert self.call() == [f"{domain}!"]
            self.end(f"{domain}!")

    def widen(self, domain: str) -> None:
        for _ in range(40):
            self.prove(domain)


def test_destinations_are_called_in_turn() -> None:
    play = Play()
    play.enter("a", 1, 2, 3)
    play.enter("b", 1, 2)
    play.enter("c", 1)
    assert play.call() == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_no_destination_gets_all_places() -> None:
    play = Play(places=20)
    play.widen("a")
    play.enter("a", *range(100))
    assert len(play.call()) == 18
    play.enter("b", 1)
    assert play.call() == ["b1"]


def test_a_single_place_is_a_place() -> None:
    play = Play(places=1)
    play.enter("a", 1)
    assert play.call() == ["a1"]


def test_those_that_may_be_dead_leave_a_place_for_one_that_is_not() -> None:
    play = Play(places=8)
    play.prove("good")
    for number in range(100):
        play.enter(f"dead{number}-", 1)
    assert len(play.call()) == 7
    play.enter("good", 1)
    assert play.call() == ["good1"]
    for name in list(play.running):
        if name != "good1":
            play.end(name, NOBODY)
    assert len(play.call()) == 7


def test_who_waits_for_a_dead_destination_is_turned_away() -> None:
    play = Play()
    play.enter("dead", *range(10))
    assert play.call() == ["dead0", "dead1", "dead2", "dead3", "dead4"]
    for number in range(3):
        play.end(f"dead{number}", NOBODY)
    assert play.call() == []
    assert [name for name, _ in play.turned_away] == [f"dead{number}" for number in range(5, 10)]
    assert play.turned_away[0][1] == b"Left alone for now, after: " + NOBODY[1]
    play.end("dead3", NOBODY)
    play.end("dead4", NOBODY)
    play.now += 100
    play.enter("dead", 10, 11)
    assert play.call() == ["dead10"]
    assert [name for name, _ in play.turned_away[5:]] == ["dead11"]
    play.end("dead10")
    play.enter("dead", 12)
    assert play.call() == ["dead12"]


def test_nobody_waits_for_more_than_a_minute_for_what_does_not_move() -> None:
    play = Play()
    play.enter("slow", *range(6))
    assert len(play.call()) == 5
    wakes_at = play.room.wakes_at()
    assert wakes_at == play.now + MAX_WAIT_S
    play.now = wakes_at
    assert play.call() == []
    assert play.turned_away == [
        ("slow5", b"Too much mail for this destination at a time; this one has to wait. (#4.4.5)\n")
    ]
    assert play.room.waiting == 0


def test_as_long_as_mail_moves_one_waits() -> None:
    play = Play(limits={b"one": Limit(concurrency=1)})
    play.enter("one", *range(10))
    for number in range(10):
        assert play.call() == [f"one{number}"]
        play.now += MAX_WAIT_S - 1
        play.end(f"one{number}")
    assert not play.turned_away


def test_a_rate_is_kept_and_others_pass_by() -> None:
    play = Play(limits={b"rare": Limit(spacing_s=10.0)})
    play.enter("rare", 1, 2)
    play.enter("often", 1, 2)
    assert play.call() == ["rare1", "often1", "often2"]
    assert play.room.wakes_at() == play.now + 10
    play.now += 10
    assert play.call() == ["rare2"]


def test_a_tired_destination_gets_a_pause() -> None:
    play = Play()
    play.enter("tired", 1)
    play.call()
    play.end("tired1", ENOUGH)
    play.enter("tired", 2)
    assert play.call() == []
    assert play.room.wakes_at() == play.now + 1
    play.now += 1
    assert play.call() == ["tired2"]


def test_other_limits_count_at_once() -> None:
    play = Play(limits={b"*": Limit(concurrency=1)})
    play.enter("a", 1, 2)
    assert play.call() == ["a1"]
    play.room.limit_by(None)
    assert play.call() == ["a2"]


def test_the_room_is_shared_and_there_is_always_some_left_for_another() -> None:
    play = Play(room=100)
    for domain in ("a", "b", "c"):
        number = 0
        while play.room.has_space(domain.encode()):
            play.enter(domain, number)
            number += 1
    counts = Counter(name[0] for name in play.queues)
    assert counts["a"] == 34
    assert play.room.has_space(b"d")
    assert not play.room.has_space(b"a", factor=4)


def test_guests_can_be_taken_out() -> None:
    play = Play()
    play.enter("a", 1, 2)
    play.enter("b", 1)
    assert play.room.remove(lambda name: name.endswith("1")) == ["a1", "b1"]
    assert play.room.waiting == 1
    assert play.call() == ["a2"]


def test_hurry_forgets_what_was() -> None:
    play = Play()
    play.enter("dead", 1, 2, 3)
    for name in play.call():
        play.end(name, NOBODY)
    play.enter("dead", 4)
    play.room.retry_all()
    assert play.call() == ["dead4"]


def test_the_number_of_remembered_destinations_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_room, "MAX_DESTINATIONS", 10)
    play = Play()
    for number in range(50):
        play.prove(f"d{number}-")
        assert len(play.room._queues) <= 10


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["enter", "call", "end", "wait", "take"]),
        st.sampled_from("abc"),
        st.sampled_from([YES, NOBODY, ENOUGH]),
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 9))
def test_nobody_is_lost_and_nobody_is_called_twice(
    steps: list[tuple[str, str, tuple[bytes, bytes]]], places: int
) -> None:
    play = Play(places)
    entered: list[str] = []
    gone: list[str] = []
    for step, domain, report in steps:
        if step == "enter":
            play.enter(domain, len(entered))
            entered.append(f"{domain}{len(entered)}")
        elif step == "call":
            gone += play.call()
        elif step == "end" and play.running:
            play.end(play.running[0], report)
        elif step == "wait":
            play.now += 7.0
        elif step == "take":
            gone += play.room.remove(lambda name, domain=domain: name.startswith(domain))  # type: ignore[misc]
    for _ in range(500):
        if not play.room.waiting:
            break
        gone += play.call()
        for name in list(play.running):
            play.end(name)
        play.now = max(play.now + 1, play.room.wakes_at() or 0)
    away = [name for name, _ in play.turned_away]
    assert sorted(gone + away) == sorted(entered)
    assert play.room._unproven == sum(
        queue.destination.running for queue in play.room._queues.values() if not queue.destination.is_proven
    )
