"""Mixed load for hours: nothing is lost, and each service has its figures of memory and descriptors."""

import os
import signal
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from tests.reliability.installation import Installation, installed
from tests.reliability.load import Load
from tests.reliability.outcome import outcome
from tests.reliability.report import Report, Row
from tests.reliability.sink import ACCEPT, MIXED, Sink
from tests.support.mail_system import free_port

PAUSE_S = 0.2
SAMPLES = 60
DRAIN_S = 600


class Use(NamedTuple):
    """What the processes of one name have in all."""

    processes: int
    rss_kib: int
    descriptors: int


def run(folder: Path, seed: int, hours: float) -> Report:
    """Load for the given time with occasional retries; figures at the start, at their highest, at the end, and idle."""
    samples: list[dict[str, Use]] = []
    with Sink(free_port(), seed, MIXED) as sink, installed(folder / "soak", sink.port) as installation:
        installation.start()
        begin = time.monotonic()
        with Load(installation.home, installation.port, seed, pause_s=PAUSE_S) as load:
            for count in range(1, SAMPLES + 1):
                time.sleep(max(0.0, begin + count * hours * 3600 / SAMPLES - time.monotonic()))
                installation.signal(signal.SIGALRM)
                samples.append(use(installation))
        sink.mode = ACCEPT
        installation.drain(DRAIN_S)
        samples.append(use(installation))
        lines = installation.log().count("\n")
        findings = outcome(installation, sink, load.sent)
    figures = {"minutes": round(hours * 60), "lines of log": lines}
    return Report("soak", seed, [Row("mixed load", findings, figures)], notes=_notes(samples))


def use(installation: Installation) -> dict[str, Use]:
    """The figures of this moment, by name."""
    found: dict[str, Use] = defaultdict(lambda: Use(0, 0, 0))
    for pid, name in installation.processes().items():
        if name.startswith(("eq-", "qmail-start")):
            try:
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                descriptors = len(os.listdir(f"/proc/{pid}/fd"))
            except OSError:
                continue  # an agent that has just ended
            before = found[name]
            kib = pages * os.sysconf("SC_PAGE_SIZE") >> 10
            found[name] = Use(before.processes + 1, before.rss_kib + kib, before.descriptors + descriptors)
    return dict(found)


def _notes(samples: list[dict[str, Use]]) -> list[str]:
    """A line for each service: MiB resident and descriptors, at first, at most, at last, and idle."""
    lines = [f"{'':12} {'MiB: first most last idle':>32} {'descriptors: first most last idle':>40}"]
    *busy, idle = samples
    for name in sorted({name for sample in samples for name in sample}):
        seen = [sample[name] for sample in busy if name in sample] or [Use(0, 0, 0)]
        figures = [seen[0], max(seen, key=lambda item: item.rss_kib), seen[-1], idle.get(name, Use(0, 0, 0))]
        memory = " ".join(f"{item.rss_kib / 1024:6.1f}" for item in figures)
        figures[1] = max(seen, key=lambda item: item.descriptors)
        descriptors = " ".join(f"{item.descriptors:5}" for item in figures)
        lines.append(f"{name:12} {memory:>32} {descriptors:>40}")
    return lines
