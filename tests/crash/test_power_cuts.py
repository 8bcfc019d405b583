"""The queue loses power, at every operation and in many ways: nothing acknowledged is lost, torn or delivered anew."""

import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eqmail_core.queue.service import message_store as keeper
from tests.support.simulated_disk import SimDisk
from tests.support.simulated_queue import FOLDERS, House, World

NONE: Callable[[int], int] = lambda most: 0  # noqa: E731
ALL: Callable[[int], int] = lambda most: most  # noqa: E731


@pytest.fixture(autouse=True, scope="module")
def _small_stock() -> Iterator[None]:
    """A pool of few numbers, for most operations would only be about them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeper, "POOL_LOW", 2)
        patch.setattr(keeper, "POOL_BATCH", 3)
        yield


def some(dice: random.Random) -> Callable[[int], int]:
    return lambda most: dice.randint(0, most)


def check_boot(disk: SimDisk, world: World, dice: random.Random, cut_again: bool) -> None:
    """Boot from what a power cut left, finish everything, stop, and look at what is left."""
    if cut_again:
        moment, after = dice.randint(1, 40), []

        def look() -> None:
            if disk.operations == moment:
                after.append((disk.after_power_cut(some(dice)), world.copy()))

        disk.on_operation = look
    house = House(disk, world)
    house.stage.settle(dice, timers=False)
    assert not house.faults()
    house.finish_all(dice)
    assert not world.missing()
    house.stop(dice)
    assert not house.faults()
    assert not [path for path in disk.paths() if path.startswith("q/pid/pool.")]
    empty = House(disk.after_power_cut(ALL), world.copy())
    assert (empty.keeper.held, empty.found.queued) == (0, 0)
    if cut_again and after:
        check_boot(*after[0], dice, cut_again=False)


def live(house: House, dice: random.Random, steps: int, flushes_fail: float = 0.0) -> None:
    """A stretch of ordinary life: mail comes, is delivered, has to wait; the scheduler goes and comes back.

    `flushes_fail`: how often, at any flush of the queue service.
    """
    if flushes_fail:
        house.disk.fails_flush = lambda: (
            any(it.is_working for it in house.stage.workers) and dice.random() < flushes_fail
        )
    house.keeper.scheduler_connected(house, set())
    is_there, count = True, len(house.world.sent)
    for _ in range(steps):
        what = dice.random()
        if what < 0.35:
            count += 1
            size = dice.choice([20, 300, 900, 1500])
            body = (b"message %d " % count) * (size // 10)
            recipients = [b"r%d@x" % it for it in range(dice.choice([1, 1, 1, 2, 3]))]
            house.submit(body, recipients, in_file=dice.random() < 0.3)
        elif what < 0.55 and house.admitted:
            message = house.admitted.pop(dice.randrange(len(house.admitted)))
            (house.finish if dice.random() < 0.7 else house.let_wait)(message)
        elif what < 0.58:
            if is_there:
                house.keeper.scheduler_disconnected(house)
                house.admitted.clear()
                for message in house.keeper._held.values():
                    message.scheduler = None
            else:
                house.keeper.scheduler_connected(house, set())
            is_there = not is_there
        elif what < 0.6:
            house.scan_todo()
        elif what < 0.62:
            house.deliver_files()
        elif what < 0.64 and house.stage.timers:
            house.stage.timers.popleft()()
        else:
            house.stage.step(dice)


def run_and_cut(
    seed: int, ordered: bool, steps: int, every: int, ways: int, stop: bool = True, flushes_fail: float = 0.0
) -> int:
    """Live for a while, and at every `every`-th operation see what each of `ways` power cuts would do."""
    dice = random.Random(seed)
    disk, world = SimDisk(FOLDERS, ordered), World()
    state = {"next": every, "cuts": 0}
    chance = random.Random(seed + 1)

    def explore() -> None:
        if disk.operations < state["next"]:
            return
        state["next"] = disk.operations + every
        for way in [NONE, ALL, *[some(chance)] * (ways - 2)][:ways]:
            state["cuts"] += 1
            check_boot(disk.after_power_cut(way), world.copy(), random.Random(seed), chance.random() < 0.2)

    disk.on_operation = explore
    house = House(disk, world, budget=chance.choice([10**6, 3000]))
    live(house, dice, steps, flushes_fail)
    disk.fails_flush = lambda: False
    if stop:
        house.stop(dice)
    return state["cuts"]


@pytest.mark.parametrize("seed", (1, 8))
@pytest.mark.parametrize("ordered", [True, False], ids=["journaling", "weakest"])
def test_nothing_is_lost_at_any_operation(seed: int, ordered: bool) -> None:
    assert run_and_cut(seed, ordered, steps=80, every=1, ways=3) > 1000


def kill_and_cut(seed: int, ordered: bool, steps: int, every: int) -> int:
    """Live for a while; at every `every`-th operation see what a kill, a start, and then a power cut would do."""
    dice = random.Random(seed)
    disk, world = SimDisk(FOLDERS, ordered), World()
    state = {"next": every, "cuts": 0}
    chance = random.Random(seed + 1)

    def explore() -> None:
        if disk.operations < state["next"]:
            return
        state["next"] = disk.operations + every
        for moment in (0, chance.randint(1, 12)):
            killed, later = disk.copy(), world.copy()
            again = House(killed, later)
            again.stage.settle(dice, timers=False)
            again.keeper.scheduler_connected(again, set())
            for _ in range(moment):
                if again.admitted:
                    (again.finish if chance.random() < 0.5 else again.let_wait)(again.admitted.pop())
                again.stage.step(chance)
            state["cuts"] += 1
            check_boot(killed.after_power_cut(NONE), later.copy(), random.Random(seed), cut_again=False)

    disk.on_operation = explore
    house = House(disk, world)
    live(house, dice, steps)
    return state["cuts"]


@pytest.mark.parametrize("ordered", [True, False], ids=["journaling", "weakest"])
@pytest.mark.parametrize("seed", [11, 12])
def test_nothing_is_lost_where_a_service_is_killed_and_power_fails_after_its_start(seed: int, ordered: bool) -> None:
    assert kill_and_cut(seed, ordered, steps=150, every=5) > 50


@pytest.mark.parametrize("ordered", [True, False], ids=["journaling", "weakest"])
@pytest.mark.parametrize("seed", [21, 22])
def test_nothing_is_lost_in_short_lives(seed: int, ordered: bool) -> None:
    assert run_and_cut(seed, ordered, steps=150, every=4, ways=3) > 100


@pytest.mark.parametrize("ordered", [True, False], ids=["journaling", "weakest"])
@pytest.mark.parametrize("flushes_fail", [0.05, 0.5])
def test_nothing_acknowledged_is_lost_where_flushes_fail(ordered: bool, flushes_fail: float) -> None:
    assert run_and_cut(5, ordered, steps=300, every=7, ways=3, flushes_fail=flushes_fail) > 100


@pytest.mark.slow
@pytest.mark.parametrize("seed", (2, 3, 4))
def test_nothing_is_lost_in_long_lives(seed: int) -> None:
    assert run_and_cut(seed, seed % 2 == 0, steps=600, every=5, ways=5)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), ordered=st.booleans())
def test_nothing_is_lost_in_any_life(seed: int, ordered: bool) -> None:
    assert run_and_cut(seed, ordered, steps=250, every=37, ways=4)
