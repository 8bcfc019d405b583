"""Several nodes with one queue in PostgreSQL, under load, of which everything fails.

Nodes and services are killed, nodes are stopped for longer than their lease; the database crashes, its sessions end and
their commits are cancelled. The nodes have one user, whose mailboxes they share; each has a home, a listener and
clients of its own.
"""

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from eqmail_core.queue.postgres.schema import migrate
from tests.reliability.checker import Findings, judge, leftovers, read_mail
from tests.reliability.installation import Failed, Installation, installed, kill
from tests.reliability.load import Load
from tests.reliability.report import Report, Row
from tests.reliability.sink import ACCEPT, Sink
from tests.support.database import Cluster, running_cluster
from tests.support.mail_system import free_port

NAMES = ("ann", "bob", "cis")
PAUSE_S = (0.3, 2.5)
STOPPED_S = (3.0, 15.0)
"""How long a node is stopped: shorter and longer than its lease."""

AWAY_S = (0.2, 6.0)
DRAIN_S = 600.0


class Chaos:
    """Does harm to nodes and their database; `done` counts it by kind."""

    def __init__(self, nodes: list[Installation], cluster: Cluster, rng: random.Random) -> None:
        self.done: Counter[str] = Counter()
        self._nodes = nodes
        self._cluster = cluster
        self._rng = rng

    def step(self) -> None:
        """Do one thing of the table; then bring back what is down."""
        action = self._rng.choices(list(ACTIONS), [weight for weight, _ in ACTIONS.values()])[0]
        self.done[action] += 1
        ACTIONS[action][1](self)

    def kill_service(self) -> None:
        """One process of a node; its parent starts it again."""
        node = self._rng.choice(self._nodes)
        services = [pid for pid in node.processes() if pid != node.pid]
        if services:
            kill(self._rng.choice(services))

    def kill_node(self) -> None:
        """Everything of a node; it returns after a while, sometimes after its lease."""
        node = self._rng.choice(self._nodes)
        node.kill_all()
        time.sleep(self._rng.choice((0.1, 1.0, 14.0)))
        start(node)

    def stop_node(self) -> None:
        """STOP for a while, then CONT."""
        node = self._rng.choice(self._nodes)
        pids = list(node.processes())
        for pid in pids:
            kill(pid, signal.SIGSTOP)
        time.sleep(self._rng.uniform(*STOPPED_S))
        for pid in pids:
            kill(pid, signal.SIGCONT)

    def end_node(self) -> None:
        """TERM to the parent, as an administrator does."""
        node = self._rng.choice(self._nodes)
        node.stop()
        start(node)

    def crash_database(self) -> None:
        """The database as after a power cut."""
        self._cluster.stop("immediate")
        time.sleep(self._rng.uniform(*AWAY_S))
        self._cluster.start()

    def end_sessions(self) -> None:
        """All sessions of the nodes."""
        self._signal("pg_terminate_backend")

    def cancel(self) -> None:
        """What runs in the sessions of the nodes."""
        self._signal("pg_cancel_backend")

    def _signal(self, function: str) -> None:
        self._cluster.execute(f"select {function}(pid) from pg_stat_activity where application_name like 'eqmail %'")


ACTIONS: dict[str, tuple[int, Callable[[Chaos], None]]] = {
    "kill a service": (40, Chaos.kill_service),
    "kill a node": (12, Chaos.kill_node),
    "stop a node": (12, Chaos.stop_node),
    "end a node": (6, Chaos.end_node),
    "crash the database": (8, Chaos.crash_database),
    "end its sessions": (10, Chaos.end_sessions),
    "cancel statements": (12, Chaos.cancel),
}
"""What is done, and how often in a hundred."""


def start(node: Installation) -> None:
    """Start a node whose processes are gone, as often as it takes."""
    for _ in range(20):
        if not node.is_up:
            node.begin()
        if node.answers():
            return
        node.kill_all()
    raise Failed("a node does not start any more:\n" + node.log()[-2000:])


@contextmanager
def nodes_of(folder: Path, sink_port: int, cluster: Cluster) -> Iterator[list[Installation]]:
    """Nodes that share the queue in `cluster` and the mailboxes of the user."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(installed(folder / name, sink_port, queuenode=name)) for name in NAMES]
        for node in nodes:
            with (node.home / "site").open("a") as site:
                site.write(f"queue postgresql:{cluster.conninfo}\n")
            if node is not nodes[0]:
                assign = node.home / "users/assign"
                assign.write_text(assign.read_text().replace(str(node.people), str(nodes[0].people)))
                subprocess.run([node.home / "bin/qmail-newu"], check=True)
        yield nodes


def run(folder: Path, seed: int, seconds: float) -> Report:
    """Harm for so long, then let everything arrive, stop, and judge."""
    rng = random.Random(seed)
    with ExitStack() as stack:
        sink = stack.enter_context(Sink(free_port(), seed))
        cluster = stack.enter_context(running_cluster(folder / "pg"))
        with psycopg.connect(cluster.conninfo, autocommit=True) as connection:
            migrate(connection)
        nodes = stack.enter_context(nodes_of(folder, sink.port, cluster))
        for node in nodes:
            start(node)
        chaos = Chaos(nodes, cluster, rng)
        loads = [Load(node.home, node.port, seed, name) for node, name in zip(nodes, NAMES, strict=True)]
        end = time.monotonic() + seconds
        with ExitStack() as running:
            for load in loads:
                running.enter_context(load)
            while time.monotonic() < end:
                time.sleep(rng.uniform(*PAUSE_S))
                chaos.step()
        findings = _outcome(nodes, cluster, sink, loads)
        taken = sum(node.log().count("is gone; its messages are taken over") for node in nodes)
    notes = ["done: " + ", ".join(f"{name} {count}" for name, count in sorted(chaos.done.items()))]
    return Report("cluster", seed, [Row("nodes", findings, {"done": chaos.done.total(), "taken over": taken})], notes)


def _outcome(nodes: list[Installation], cluster: Cluster, sink: Sink, loads: list[Load]) -> Findings:
    """Have everything tried until the queue is empty, stop the nodes, and judge."""
    sink.mode = ACCEPT
    troubles = []
    for node in nodes:
        if not node.is_up:
            start(node)
    deadline = time.monotonic() + DRAIN_S
    quiet = 0
    while quiet < 2 and time.monotonic() < deadline:
        cluster.execute(
            "update message set due = 1, due_local = least(due_local, 1), due_remote = least(due_remote, 1)"
        )
        for node in nodes:
            node.signal(signal.SIGALRM)
        time.sleep(1)
        idle = cluster.execute("select count(*) from message") == [(0,)] and not any(map(_has_files, nodes))
        quiet = quiet + 1 if idle else 0
    if quiet < 2:
        troubles.append(f"{cluster.execute('select count(*) from message')[0][0]} messages still wait")
    left = []
    for node in nodes:
        code = node.stop()
        if code != 0:
            troubles.append("a node did not stop" if code is None else f"a node stopped with code {code}")
        left += [path for path in leftovers(node.home) if not path.startswith("pid/")]
    sent = [item for load in loads for item in load.sent]
    findings = judge(sent, read_mail(nodes[0].people), list(sink.deliveries), left)
    findings.troubles += troubles
    return findings


def _has_files(node: Installation) -> bool:
    """Whether mail that was queued as files, while the service was down, waits."""
    return any(path.is_file() for path in (node.home / "queue/mess").rglob("*"))
