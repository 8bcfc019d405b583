"""Several nodes with one queue in PostgreSQL, under load, of which everything fails.

Nodes and services are killed and stopped, links cut and slowed; the database and its standby crash, stop, fill up, fail
over, end sessions and cancel commits.  The nodes share the mailboxes of one user; each has a home, a host, a listener
and clients of its own.
"""

import signal
import statistics
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg

from tests.reliability.checker import Findings, judge, leftovers, read_mail
from tests.reliability.cluster_bed import Bed, cluster_bed
from tests.reliability.cluster_copies import UNEXPLAINED, causes
from tests.reliability.cluster_faults import DATABASE, Faults, Moved, start
from tests.reliability.installation import Installation
from tests.reliability.load import Load, Sent
from tests.reliability.report import Report, Row
from tests.reliability.sink import ACCEPT

WAYS = ("kept", "kept", "kept", "kept", "each", "each", "inject", "queue")
DRAIN_S = 600.0
_RETRY = "update message set due = 1, due_local = least(due_local, 1), due_remote = least(due_remote, 1)"
_WAITING = "select count(*) from message"


def run(folder: Path, seed: int, minutes: float, rate: float) -> Report:
    """Harm for so long at about so many messages a second, then let everything arrive, stop, and judge."""
    with cluster_bed(folder, seed) as bed:
        for node in bed.nodes:
            start(node.installation)
        pause_s = len(bed.nodes) * len(WAYS) / rate
        faults = Faults(bed, seed)
        loads = []
        with ExitStack() as running:
            for node in bed.nodes:
                it = node.installation
                load = Load(it.home, it.port, seed, node.name, WAYS, pause_s, it.place.address)
                loads.append(running.enter_context(load))
            with faults:
                time.sleep(60 * minutes)
        sent = [item for load in loads for item in load.sent]
        findings = _outcome(bed, sent)
        findings.troubles += faults.troubles
        nodes = {node.address: node.name for node in bed.nodes}
        copies = causes(sent, bed.sink.deliveries, nodes, bed.nodes[0].installation.people, faults.all)
        taken = sum(node.installation.log().count("is gone; its messages are taken over") for node in bed.nodes)
    kinds = [fault.kind for fault in faults.all]
    broken_s = sum(fault.end - fault.begin for fault in faults.all if fault.target == DATABASE)
    figures = {
        "minutes": round(minutes),
        "faults": len(kinds),
        "taken over": taken,
        "delivered": len({it.address for it in bed.sink.deliveries}),
        UNEXPLAINED: sum(count for kind, count in copies.items() if kind.startswith(UNEXPLAINED)),
    }
    notes = [
        "faults: " + ", ".join(f"{kind} {kinds.count(kind)}" for kind in sorted(set(kinds))),
        "copies by cause: " + (", ".join(f"{kind} {count}" for kind, count in copies.most_common()) or "none"),
        _moved(faults.moved),
        f"acknowledged a second: {findings.acknowledged / (60 * minutes):.0f}; refused {findings.refused}, of these "
        f"delivered {findings.refused_but_delivered}; unknown {findings.unknown}; database broken for {broken_s:.0f} s",
    ]
    return Report("cluster", seed, [Row("nodes", findings, figures)], notes)


def _moved(moved: list[Moved]) -> str:
    """How long it took until the mail of a lost node was at others."""
    lines = []
    for is_healthy, what in ((True, "healthy"), (False, "also broken")):
        times = sorted(it.seconds for it in moved if it.was_healthy == is_healthy)
        if times:
            figures = f"median {statistics.median(times):.1f} s, at most {times[-1]:.1f} s"
            lines.append(f"{len(times)} with the database {what}: {figures}")
    return "mail of lost nodes moved: " + ("; ".join(lines) or "none was lost")


def _outcome(bed: Bed, sent: list[Sent]) -> Findings:
    """Have everything tried until the queue is empty, stop the nodes, and judge."""
    bed.sink.mode = ACCEPT
    troubles = []
    nodes = [node.installation for node in bed.nodes]
    for node in nodes:
        if not node.is_up:
            start(node)
    deadline = time.monotonic() + DRAIN_S
    quiet = 0
    while quiet < 2 and time.monotonic() < deadline:
        idle = False
        with suppress(psycopg.Error):
            bed.pair.primary.execute(_RETRY)
            idle = bed.pair.primary.execute(_WAITING) == [(0,)] and not any(map(_has_files, nodes))
        for node in nodes:
            node.signal(signal.SIGALRM)
        time.sleep(1)
        quiet = quiet + 1 if idle else 0
    if quiet < 2:
        troubles.append(f"{bed.pair.primary.execute(_WAITING)[0][0]} messages still wait")
    left = []
    for node in nodes:
        code = node.stop()
        if code != 0:
            troubles.append("a node did not stop" if code is None else f"a node stopped with code {code}")
        left += [path for path in leftovers(node.home) if not path.startswith("pid/")]
    findings = judge(sent, read_mail(nodes[0].people), list(bed.sink.deliveries), left)
    findings.troubles += troubles
    return findings


def _has_files(node: Installation) -> bool:
    """Whether mail that was queued as files, while the service was down, waits."""
    return any(path.is_file() for path in (node.home / "queue/mess").rglob("*"))
