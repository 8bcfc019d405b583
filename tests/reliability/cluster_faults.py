"""What is done to the nodes, the links and the database of a cluster under load: three threads, each with its table.

A fault is recorded with its target and its time, so that copies can be explained by it.  Every fault is mended by the
thread that made it, before its next one.
"""

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import psycopg

from tests.reliability.cluster_bed import DATA, MAIL, Bed, Node
from tests.reliability.installation import Failed, Installation, kill
from tests.support.database import Cluster
from tests.support.network import BOTH, IN, OUT

DATABASE = "the database"
STOPPED_S = (5.0, 15.0, 60.0)
"""How long something is stopped: up to the second, and once in ten times the third."""

CUT_S = (2.0, 25.0)
AWAY_S = (0.2, 6.0)
FULL_S = (3.0, 12.0)
HEALTHY_S = 180.0
MOVED_S = 60.0
FIRST_PAUSE_S = 2.0

_OWNED = "select count(*) from message join node on node.id = message.node where node.name = '{}'"
_SIGNAL = "select {}(pid) from pg_stat_activity where application_name like 'eqmail %'"


class Fault(NamedTuple):
    """Something that was broken from `begin` to `end` (time.monotonic); `target`: a node's name, or DATABASE."""

    kind: str
    target: str
    begin: float
    end: float


class Moved(NamedTuple):
    """Messages of a node that was killed, and after how many seconds all of them were free or at others."""

    messages: int
    seconds: float
    was_healthy: bool


class Faults:
    """All that was broken so far; `troubles`: what could not be mended."""

    def __init__(self, bed: Bed, seed: int) -> None:
        self.bed = bed
        self.all: list[Fault] = []
        self.moved: list[Moved] = []
        self.troubles: list[str] = []
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(name, random.Random(f"{seed} {name}")), name=name, daemon=True)
            for name in TABLES
        ]

    def __enter__(self) -> "Faults":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def record(self, kind: str, target: str) -> Iterator[None]:
        """Note a fault that lasts as long as the block."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.all.append(Fault(kind, target, begin, time.monotonic()))

    @property
    def primary(self) -> Cluster:
        """The database that can be written to."""
        return self.bed.pair.primary

    def _repeat(self, name: str, rng: random.Random) -> None:
        pause_s, table = TABLES[name]
        self._stopping.wait(rng.uniform(0, FIRST_PAUSE_S))
        while not self._stopping.is_set():
            kind = rng.choices(list(table), [weight for weight, _ in table.values()])[0]
            try:
                table[kind][1](self, kind, rng)
            except (Failed, OSError, AssertionError, psycopg.Error, subprocess.SubprocessError) as error:
                self.troubles.append(f"{kind}: {type(error).__name__}: {error}"[:400])
            self._stopping.wait(rng.uniform(*pause_s))


def start(node: Installation) -> None:
    """Start a node whose processes are gone, as often as it takes.  Fails: Failed."""
    for _ in range(20):
        if not node.is_up:
            node.begin()
        if node.answers():
            return
        node.kill_all()
    raise Failed("a node does not start any more:\n" + node.log()[-2000:])


# Nodes.


@contextmanager
def _harmed(faults: Faults, kind: str, rng: random.Random) -> Iterator[Node]:
    node = rng.choice(faults.bed.nodes)
    with node.lock, faults.record(kind, node.name):
        yield node


def kill_service(faults: Faults, kind: str, rng: random.Random) -> None:
    """One process of a node; its parent starts it again."""
    with _harmed(faults, kind, rng) as node:
        services = [pid for pid in node.installation.processes() if pid != node.installation.pid]
        if services:
            kill(rng.choice(services))


def kill_node(faults: Faults, kind: str, rng: random.Random) -> None:
    """Everything of a node, which returns before its lease is over, or a little later."""
    with _harmed(faults, kind, rng) as node:
        node.installation.kill_all()
        time.sleep(rng.choice((0.1, 1.0, 14.0)))
        start(node.installation)


def lose_node(faults: Faults, kind: str, rng: random.Random) -> None:
    """Everything of a node, until others have its mail; the time that this takes is a result."""
    with _harmed(faults, kind, rng) as node:
        node.installation.kill_all()
        begin, first = time.monotonic(), None
        while time.monotonic() < begin + MOVED_S:
            with suppress(psycopg.Error):
                ((count,),) = faults.primary.execute(_OWNED.format(node.name))
                assert isinstance(count, int)
                first = count if first is None else first
                if not count:
                    break
            time.sleep(0.1)
        end = time.monotonic()
        start(node.installation)
    if first:
        was_healthy = not any(fault.target == DATABASE and fault.end > begin - 20 for fault in list(faults.all))
        faults.moved.append(Moved(first, end - begin, was_healthy))


def stop_node(faults: Faults, kind: str, rng: random.Random) -> None:
    """STOP for a while, then CONT."""
    with _harmed(faults, kind, rng) as node:
        pids = list(node.installation.processes())
        for pid in pids:
            kill(pid, signal.SIGSTOP)
        time.sleep(_stopped(rng))
        for pid in pids:
            kill(pid, signal.SIGCONT)


def end_node(faults: Faults, kind: str, rng: random.Random) -> None:
    """TERM to the parent, as an administrator does."""
    with _harmed(faults, kind, rng) as node:
        node.installation.stop()
        start(node.installation)


def _stopped(rng: random.Random) -> float:
    low, high, long = STOPPED_S
    return long if rng.random() < 0.1 else rng.uniform(low, high)


# Links of nodes.


def _cut(bridge: str, way: str) -> Callable[[Faults, str, random.Random], None]:
    def cut(faults: Faults, kind: str, rng: random.Random) -> None:
        with _harmed(faults, kind, rng) as node:
            node.host.cut(bridge, way)
            time.sleep(rng.uniform(*CUT_S))
            node.host.restore(bridge)

    return cut


def slow_link(faults: Faults, kind: str, rng: random.Random) -> None:
    """Delay and loss, or few bits a second, on the way to the database."""
    with _harmed(faults, kind, rng) as node:
        if node.host.slow(DATA):
            time.sleep(rng.uniform(*CUT_S))
            node.host.end_slow(DATA)


# The database.


@contextmanager
def _broken(faults: Faults, kind: str) -> Iterator[None]:
    """A fault of the database, which lasts until its commits are confirmed by a standby again."""
    with faults.record(kind, DATABASE):
        yield
        pair = faults.bed.pair
        deadline = time.monotonic() + HEALTHY_S
        while time.monotonic() < deadline:
            for cluster in (pair.primary, pair.standby):
                with suppress(subprocess.SubprocessError):
                    if not cluster.is_up:
                        cluster.start()
            with suppress(psycopg.Error):
                if pair.is_synchronous():
                    return
            time.sleep(0.2)
        raise Failed("no standby confirms commits")


def crash_primary(faults: Faults, kind: str, rng: random.Random) -> None:
    """Kill it, and start it again."""
    with _broken(faults, kind):
        faults.primary.kill()
        time.sleep(rng.uniform(*AWAY_S))


def crash_standby(faults: Faults, kind: str, rng: random.Random) -> None:
    """Kill it: no commit ends until it is back."""
    with _broken(faults, kind):
        faults.bed.pair.standby.kill()
        time.sleep(rng.uniform(*AWAY_S))


def _stop_cluster(faults: Faults, kind: str, cluster: Cluster, rng: random.Random) -> None:
    with _broken(faults, kind):
        cluster.signal(signal.SIGSTOP)
        time.sleep(_stopped(rng))
        cluster.signal(signal.SIGCONT)


def stop_primary(faults: Faults, kind: str, rng: random.Random) -> None:
    """STOP for a while, then CONT."""
    _stop_cluster(faults, kind, faults.primary, rng)


def stop_standby(faults: Faults, kind: str, rng: random.Random) -> None:
    """STOP for a while, then CONT."""
    _stop_cluster(faults, kind, faults.bed.pair.standby, rng)


def cut_standby(faults: Faults, kind: str, rng: random.Random) -> None:
    """Nothing passes between the standby and the others, in a direction or both."""
    with _broken(faults, kind):
        host = faults.bed.server(faults.bed.pair.standby).host
        host.cut(DATA, rng.choice((BOTH, IN, OUT)))
        time.sleep(rng.uniform(*CUT_S))
        host.restore(DATA)


def fail_over(faults: Faults, kind: str, rng: random.Random) -> None:
    """Kill the primary, promote the standby; what was the primary returns as a new standby."""
    with _broken(faults, kind):
        faults.bed.pair.fail_over()
        time.sleep(rng.uniform(*AWAY_S))
        faults.bed.pair.renew_standby()


def fail_over_cut_off(faults: Faults, kind: str, rng: random.Random) -> None:
    """Promote the standby while the primary runs, cut off; it is killed before it is reached again."""
    pair = faults.bed.pair
    with _broken(faults, kind):
        host = faults.bed.server(pair.primary).host
        host.cut(DATA)
        pair.promote()
        time.sleep(rng.uniform(*AWAY_S))
        pair.standby.kill()
        host.restore(DATA)
        pair.renew_standby()


def end_sessions(faults: Faults, kind: str, rng: random.Random) -> None:
    """All sessions of the nodes."""
    with _broken(faults, kind):
        faults.primary.execute(_SIGNAL.format("pg_terminate_backend"))


def cancel(faults: Faults, kind: str, rng: random.Random) -> None:
    """What runs in the sessions of the nodes, a few times."""
    with _broken(faults, kind):
        for _ in range(20):
            faults.primary.execute(_SIGNAL.format("pg_cancel_backend"))


def cancel_unconfirmed(faults: Faults, kind: str, rng: random.Random) -> None:
    """Commits that wait for a stopped standby: the database reports them as done, with a warning."""
    with _broken(faults, kind):
        standby = faults.bed.pair.standby
        standby.signal(signal.SIGSTOP)
        time.sleep(rng.uniform(1, 3))
        for _ in range(20):
            faults.primary.execute(_SIGNAL.format("pg_cancel_backend"))
            time.sleep(0.05)
        standby.signal(signal.SIGCONT)


def fill_disk(faults: Faults, kind: str, rng: random.Random) -> None:
    """No space on the disk of the primary or the standby, for a while."""
    cluster = rng.choice((faults.primary, faults.primary, faults.bed.pair.standby))
    disk = faults.bed.server(cluster).disk
    ballast = disk / "ballast"
    with _broken(faults, kind):
        with open(ballast, "wb") as file:
            for size in (1 << 24, 1 << 20, 1 << 16, 1 << 12):
                with suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), size)
        time.sleep(rng.uniform(*FULL_S))
        ballast.unlink()


Action = Callable[[Faults, str, random.Random], None]
Table = dict[str, tuple[int, Action]]

TABLES: dict[str, tuple[tuple[float, float], Table]] = {
    "nodes": (
        (0.3, 5.0),
        {
            "service killed": (40, kill_service),
            "node killed": (12, kill_node),
            "node lost": (8, lose_node),
            "node stopped": (12, stop_node),
            "node ended": (6, end_node),
        },
    ),
    "links": (
        (2.0, 20.0),
        {
            "node cut off from the database": (10, _cut(DATA, BOTH)),
            "node cannot send to the database": (6, _cut(DATA, OUT)),
            "node cannot hear the database": (6, _cut(DATA, IN)),
            "node cut off from clients and sink": (4, _cut(MAIL, BOTH)),
            "slow link to the database": (6, slow_link),
        },
    ),
    "database": (
        (5.0, 60.0),
        {
            "primary killed": (8, crash_primary),
            "standby killed": (4, crash_standby),
            "primary stopped": (6, stop_primary),
            "standby stopped": (6, stop_standby),
            "standby cut off": (6, cut_standby),
            "failover, primary killed": (8, fail_over),
            "failover, primary cut off": (6, fail_over_cut_off),
            "sessions ended": (8, end_sessions),
            "statements canceled": (8, cancel),
            "unconfirmed commits canceled": (6, cancel_unconfirmed),
            "disk full": (8, fill_disk),
        },
    ),
}
"""Of each thread: the pause between two faults in seconds, and what is done how often."""
