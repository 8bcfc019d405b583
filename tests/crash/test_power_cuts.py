"""The queue loses power, at every operation and in many ways: nothing acknowledged is lost, torn or delivered again."""

import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eqmail_core.queue.service import pool_supply
from tests.support.simulated_disk import SimDisk
from tests.support.simulated_queue import FOLDERS, MailHistory, SimQueueService

NONE: Callable[[int], int] = lambda most: 0  # noqa: E731
ALL: Callable[[int], int] = lambda most: most  # noqa: E731


@pytest.fixture(autouse=True, scope="module")
def _small_stock() -> Iterator[None]:
    """A pool of few numbers, for most operations would only be about them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_supply, "POOL_LOW", 2)
        patch.setattr(pool_supply, "POOL_BATCH", 3)
        yield


def some(rng: random.Random) -> Callable[[int], int]:
    return lambda most: rng.randint(0, most)


def check_boot(disk: SimDisk, history: MailHistory, rng: random.Random, cut_again: bool) -> None:
    """Boot from what a power cut left, finish everything, stop, and look at what is left."""
    if cut_again:
        moment, after = rng.randint(1, 40), []

        def look() -> None:
            if disk.operations == moment:
                after.append((disk.after_power_cut(some(rng)), history.copy()))

        disk.on_operation = look
    service = SimQueueService(disk, history)
    service.sim_loop.settle(rng, timers=False)
    assert not service.faults()
    service.finish_all(rng)
    assert not history.missing()
    service.stop(rng)
    assert not service.faults()
    assert not [path for path in disk.paths() if path.startswith("q/pid/pool.")]
    empty = SimQueueService(disk.after_power_cut(ALL), history.copy())
    assert (empty.store.held, empty.found.queued) == (0, 0)
    if cut_again and after:
        check_boot(*after[0], rng, cut_again=False)


def live(service: SimQueueService, rng: random.Random, steps: int, flushes_fail: float = 0.0) -> None:
    """Ordinary operation: mail arrives, is delivered or deferred; the scheduler goes and comes back.

    `flushes_fail`: how often, at any flush of the queue service.
    """
    if flushes_fail:
        service.disk.fails_flush = lambda: (
            any(it.is_working for it in service.sim_loop.workers) and rng.random() < flushes_fail
        )
    service.store.scheduler_connected(service, set())
    is_there, count = True, len(service.history.sent)
    for _ in range(steps):
        what = rng.random()
        if what < 0.35:
            count += 1
            size = rng.choice([20, 300, 900, 1500])
            body = (b"message %d " % count) * (size // 10)
            recipients = [b"r%d@x" % it for it in range(rng.choice([1, 1, 1, 2, 3]))]
            service.submit(body, recipients, in_file=rng.random() < 0.3)
        elif what < 0.55 and service.admitted:
            message = service.admitted.pop(rng.randrange(len(service.admitted)))
            (service.finish if rng.random() < 0.7 else service.let_wait)(message)
        elif what < 0.58:
            if is_there:
                service.store.scheduler_disconnected(service)
                service.admitted.clear()
                for message in service.store._held.values():
                    message.scheduler = None
            else:
                service.store.scheduler_connected(service, set())
            is_there = not is_there
        elif what < 0.6:
            service.scan_todo()
        elif what < 0.62:
            service.deliver_files()
        elif what < 0.64 and service.sim_loop.timers:
            service.sim_loop.timers.popleft()()
        else:
            service.sim_loop.step(rng)


def run_and_cut(
    seed: int, ordered: bool, steps: int, every: int, ways: int, stop: bool = True, flushes_fail: float = 0.0
) -> int:
    """Live for a while, and at every `every`-th operation see what each of `ways` power cuts would do."""
    rng = random.Random(seed)
    disk, history = SimDisk(FOLDERS, ordered), MailHistory()
    state = {"next": every, "cuts": 0}
    chance = random.Random(seed + 1)

    def explore() -> None:
        if disk.operations < state["next"]:
            return
        state["next"] = disk.operations + every
        for way in [NONE, ALL, *[some(chance)] * (ways - 2)][:ways]:
            state["cuts"] += 1
            check_boot(disk.after_power_cut(way), history.copy(), random.Random(seed), chance.random() < 0.2)

    disk.on_operation = explore
    service = SimQueueService(disk, history, budget=chance.choice([10**6, 3000]))
    live(service, rng, steps, flushes_fail)
    disk.fails_flush = lambda: False
    if stop:
        service.stop(rng)
    return state["cuts"]


@pytest.mark.parametrize("seed", (1, 8))
@pytest.mark.parametrize("ordered", [True, False], ids=["journaling", "weakest"])
def test_nothing_is_lost_at_any_operation(seed: int, ordered: bool) -> None:
    assert run_and_cut(seed, ordered, steps=80, every=1, ways=3) > 1000


def kill_and_cut(seed: int, ordered: bool, steps: int, every: int) -> int:
    """Live for a while; at every `every`-th operation see what a kill, a start, and then a power cut would do."""
    rng = random.Random(seed)
    disk, history = SimDisk(FOLDERS, ordered), MailHistory()
    state = {"next": every, "cuts": 0}
    chance = random.Random(seed + 1)

    def explore() -> None:
        if disk.operations < state["next"]:
            return
        state["next"] = disk.operations + every
        for moment in (0, chance.randint(1, 12)):
            killed, later = disk.copy(), history.copy()
            again = SimQueueService(killed, later)
            again.sim_loop.settle(rng, timers=False)
            again.store.scheduler_connected(again, set())
            for _ in range(moment):
                if again.admitted:
                    (again.finish if chance.random() < 0.5 else again.let_wait)(again.admitted.pop())
                again.sim_loop.step(chance)
            state["cuts"] += 1
            check_boot(killed.after_power_cut(NONE), later.copy(), random.Random(seed), cut_again=False)

    disk.on_operation = explore
    service = SimQueueService(disk, history)
    live(service, rng, steps)
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
