"""Scheduler and queue service lose power at any operation: nothing is lost or delivered to others, nothing is left."""

import random
from collections.abc import Iterator

import pytest

from eqmail_core.queue.service import pool_supply
from tests.crash.test_power_cuts import ALL, NONE, some
from tests.support.simulated_os import SimOs, TimedDisk, install
from tests.support.simulated_queue import MailHistory
from tests.support.simulated_scheduler import FOLDERS, Services


@pytest.fixture(autouse=True, scope="module")
def _few_numbers() -> Iterator[None]:
    """A pool of few numbers, so that they come back soon."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_supply, "POOL_LOW", 2)
        patch.setattr(pool_supply, "POOL_BATCH", 3)
        yield


@pytest.fixture
def sim_os(monkeypatch: pytest.MonkeyPatch) -> SimOs:
    return install(monkeypatch, TimedDisk(FOLDERS))


def submit(services: Services, rng: random.Random) -> None:
    count = len(services.history.sent)
    body = (b"message %d " % count) * rng.choice([2, 30, 90, 150])
    names = [rng.choice([b"r%d@x", b"r%d@y", b"r%d@x", b"bad%d@y"]) % it for it in range(rng.choice([1, 1, 2, 3]))]
    services.submit(body, names, in_file=rng.random() < 0.3)


def live(services: Services, rng: random.Random, steps: int) -> None:
    """Ordinary operation: mail arrives, is delivered or deferred; the scheduler is killed and comes back."""
    services.start_scheduler()
    for _ in range(steps):
        what = rng.random()
        if what < 0.12:
            submit(services, rng)
        elif what < 0.13:
            if services.scheduler is None:
                services.start_scheduler()
            else:
                services.kill_scheduler()
        elif what < 0.17:
            services.wait(rng.choice([0.3, 1.5, 20, 500]))
        elif what < 0.2 and services.sim_loop.timers:
            services.sim_loop.timers.popleft()()
        else:
            services.sim_loop.step(rng)


def check_boot(disk: TimedDisk, history: MailHistory, sim_os: SimOs, rng: random.Random, cut_again: bool) -> None:
    """Boot from what a power cut left, let everything be delivered, stop, and look at what is left."""
    moment, after = rng.randint(1, 60), []

    def look() -> None:
        if cut_again and disk.operations == moment:
            after.append((disk.after_power_cut(some(rng)), history.copy()))

    disk.on_operation = look
    services = Services(disk, history, sim_os, rng)
    services.drain()
    assert services.scheduler is not None
    assert not history.missing(), services.scheduler.output
    assert not services.leftovers(), services.scheduler.output
    if disk.ordered:
        assert not [line for line in services.scheduler.output if b"alert" in line]
    left = services.timed.paths()
    services.kill_scheduler()
    services.stop(rng)
    assert not [path for path in services.timed.paths() if path not in left and "/pid/" not in path]
    for next_disk, next_world in after:
        check_boot(next_disk, next_world, sim_os, rng, cut_again=False)


def run_and_cut(sim_os: SimOs, seed: int, ordered: bool, steps: int, every: int, ways: int) -> int:
    """Live for a while, and at every `every`-th operation see what each of `ways` power cuts would do."""
    rng, chance = random.Random(seed), random.Random(seed + 1)
    disk, history = TimedDisk(FOLDERS, ordered), MailHistory()
    cuts = 0

    def explore() -> None:
        nonlocal cuts
        if disk.operations % every:
            return
        for way in [NONE, ALL, *[some(chance)] * (ways - 2)][:ways]:
            cuts += 1
            check_boot(disk.after_power_cut(way), history.copy(), sim_os, random.Random(seed), chance.random() < 0.2)
        sim_os.disk = disk

    disk.on_operation = explore
    services = Services(disk, history, sim_os, rng, budget=chance.choice([10**6, 3000]))
    live(services, rng, steps)
    services.drain()
    assert services.scheduler is not None
    assert not services.leftovers(), services.scheduler.output
    return cuts


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", (1, 2))
@pytest.mark.parametrize("ordered", [True, False], ids=["journaling", "weakest"])
def test_nothing_is_lost_misdelivered_or_left_at_any_operation(sim_os: SimOs, seed: int, ordered: bool) -> None:
    assert run_and_cut(sim_os, seed, ordered, steps=400, every=7, ways=3) > 100


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(10, 14))
def test_nothing_is_lost_misdelivered_or_left_in_long_lives(sim_os: SimOs, seed: int) -> None:
    assert run_and_cut(sim_os, seed, seed % 2 == 0, steps=900, every=29, ways=4) > 50
