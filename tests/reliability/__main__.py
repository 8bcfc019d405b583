"""python -m tests.reliability PART [OPTION...]: what becomes of acknowledged mail.  Needs root, and Linux.

Every part prints a table and exits 1 when something was lost, torn, misdelivered, falsely bounced or left over; 3 when
it is not done in its time, with what every process does and what waits.
"""

import argparse
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.reliability import cluster, flush_failure, full, kills, power, restart, rot, soak
from tests.reliability.deadline import deadline
from tests.reliability.installation import workspace
from tests.reliability.mounts import MAKE, own_mounts
from tests.reliability.report import Report

HOUR_S = 3600
BASE_S = 600.0
"""What every part may take, beside the time for what it does."""


class Part(NamedTuple):
    """One part: what it does, its options (name, type, default, help), and how long it may take."""

    help: str
    run: Callable[[Path, Namespace], Report]
    options: tuple[tuple[str, Callable[[str], Any], Any, str], ...]
    allowed_s: Callable[[Namespace], float]


def file_system(name: str) -> str:
    """The name of a file system that can be made.  Fails: ArgumentTypeError."""
    if name not in MAKE:
        raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(MAKE)}")
    return name


WAYS = len(rot.DAMAGES)
TIMES = "times"
PARTS = {
    "cluster": Part(
        "nodes with one queue in PostgreSQL; nodes, links and databases killed, stopped, cut off, failed over",
        lambda folder, words: cluster.run(folder, words.seed, words.minutes, words.rate),
        (
            ("minutes", float, 2.0, "how long harm is done"),
            ("rate", float, 60.0, "messages a second that clients offer"),
        ),
        lambda words: cluster.DRAIN_S + 600 + 120 * words.minutes,
    ),
    "kill": Part(
        "kill services at random moments",
        lambda folder, words: kills.run(folder, words.seed, words.kills),
        (("kills", int, 100, "processes"),),
        lambda words: 10 * words.kills,
    ),
    "power": Part(
        "cut the power below the page cache",
        lambda folder, words: power.cut_power(folder, words.seed, words.fs, words.cuts, words.seconds),
        (
            ("fs", file_system, "ext4", "the file system, ext4 or xfs"),
            ("cuts", int, 10, "cuts"),
            ("seconds", float, 20.0, "length of the recorded run"),
        ),
        lambda words: 5 * words.seconds + 120 * words.cuts,
    ),
    "flush-failure": Part(
        "let a flush, a write or a renaming fail, then crash",
        lambda folder, words: flush_failure.run(folder, words.seed, words.times),
        ((TIMES, int, 2 * len(flush_failure.FAULTS), "crashes, the faults taking turns"),),
        lambda words: 60 * words.times,
    ),
    "slow": Part(
        "let flushes take long, then crash",
        lambda folder, words: flush_failure.run(folder, words.seed, words.times, flush_failure.SLOW, "slow"),
        ((TIMES, int, 2 * len(flush_failure.SLOW), "crashes, the faults taking turns"),),
        lambda words: 90 * words.times,
    ),
    "rot": Part(
        "damage the journal",
        lambda folder, words: rot.run(folder, words.seed, words.times, words.ways),
        ((TIMES, int, 1, "in each way"), ("ways", int, WAYS, "the first N ways")),
        lambda words: 60 * words.times * words.ways,
    ),
    "full": Part(
        "no space, no inodes, read-only",
        lambda folder, words: full.run(folder, words.seed, words.times),
        ((TIMES, int, 1, "rounds of three"),),
        lambda words: 400 * words.times,
    ),
    "restart": Part(
        "clean and dirty stops",
        lambda folder, words: restart.run(folder, words.seed, words.times),
        ((TIMES, int, 5, "stops of each kind"),),
        lambda words: 120 * words.times,
    ),
    "soak": Part(
        "mixed load for hours",
        lambda folder, words: soak.run(folder, words.seed, words.hours),
        (("hours", float, 0.05, "how long"),),
        lambda words: 1.5 * HOUR_S * words.hours,
    ),
}


def run_part(name: str, folder: Path, words: Namespace) -> Report:
    """Run a part in its time, or in that of --within; where it takes longer this process ends."""
    part = PARTS[name]
    with deadline(words.within or BASE_S + part.allowed_s(words), folder):
        return part.run(folder, words)


def every(folder: Path, words: Namespace) -> Iterator[Report]:
    """All parts, each with its share of the time."""

    def share(percent: int, seconds_each: float) -> int:
        hours: float = words.hours
        return max(1, round(hours * HOUR_S * percent / 100 / seconds_each))

    def part(name: str, place: str = "", **options: float | str) -> Report:
        inner = folder / (place or name)
        inner.mkdir(mode=0o755)
        return run_part(name, inner, Namespace(seed=words.seed, within=words.within, **options))

    yield part("kill", kills=share(30, 0.5))
    for kind in ("ext4", "xfs"):
        yield part("power", kind, fs=kind, cuts=share(12, 4), seconds=min(60, 5 + share(2, 1)))
    yield part("flush-failure", times=share(12, 4))
    yield part("slow", times=share(5, 6))
    yield part("rot", times=share(5, 50), ways=WAYS)
    yield part("full", times=share(7, 50))
    yield part("restart", times=share(7, 8))
    yield part("soak", hours=words.hours / 10)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=(__doc__ or "").strip())
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--seed", type=int, default=1, metavar="N", help="of all dice; moments differ all the same")
    common.add_argument("--within", type=float, default=0, metavar="SECONDS", help="what a part may take")
    common.add_argument("--json", action="store_true", help="print JSON, a line for each part")
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    for name, part in PARTS.items():
        sub = parts.add_parser(name, parents=[common], help=part.help, description=part.help)
        for option, kind, default, text in part.options:
            sub.add_argument(f"--{option}", type=kind, default=default, metavar="N", help=f"{text} ({default})")
    text = "every part, each with its share of the time"
    sub = parts.add_parser("all", parents=[common], help=text, description=text)
    sub.add_argument("--hours", type=float, default=0.1, metavar="N", help="about how long in all (0.1)")
    return parser


def main() -> int:
    """Run a part, or all; every report is printed when it is there."""
    words = _parser().parse_args()
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        print("python -m tests.reliability: needs root and Linux", file=sys.stderr)
        return 2
    own_mounts()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    passed = True
    with workspace() as folder:
        reports = every(folder, words) if words.part == "all" else iter([run_part(words.part, folder, words)])
        for report in reports:
            print(report.json() if words.json else report.table(), flush=True)
            passed &= report.passed
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
