"""python -m tests.reliability PART [OPTION...]: what becomes of acknowledged mail.  Needs root, and Linux.

Every part prints a table and exits 1 when something was lost, torn, misdelivered, falsely bounced or left over.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.reliability import flush_failure, full, kills, power, restart, rot, soak
from tests.reliability.installation import workspace
from tests.reliability.mounts import own_mounts
from tests.reliability.report import Report

Part = Callable[[Path, argparse.Namespace], Iterator[Report]]
HOUR_S = 3600


def one(run: Callable[[Path, argparse.Namespace], Report]) -> Part:
    """A part that makes one report."""

    def part(folder: Path, words: argparse.Namespace) -> Iterator[Report]:
        yield run(folder, words)

    return part


def every(folder: Path, words: argparse.Namespace) -> Iterator[Report]:
    """All parts, each with its share of the time."""

    def share(percent: int, seconds_each: float) -> int:
        hours: float = words.hours
        return max(1, round(hours * HOUR_S * percent / 100 / seconds_each))

    def place(name: str) -> Path:
        (folder / name).mkdir(mode=0o755)
        return folder / name

    seed = words.seed
    yield kills.run(place("kill"), seed, share(30, 0.5))
    for kind in ("ext4", "xfs"):
        seconds = min(60, 5 + share(2, 1))
        yield power.cut_power(place(kind), seed, kind, share(12, 4), seconds)
    yield flush_failure.run(place("flush-failure"), seed, share(12, 4))
    yield flush_failure.run(place("slow"), seed, share(5, 6), flush_failure.SLOW, "slow")
    yield rot.run(place("rot"), seed, share(5, 50))
    yield full.run(place("full"), seed, share(7, 50))
    yield restart.run(place("restart"), seed, share(7, 8))
    yield soak.run(place("soak"), seed, words.hours / 10)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=(__doc__ or "").strip())
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--seed", type=int, default=1, metavar="N", help="of all dice; moments differ all the same")
    common.add_argument("--json", action="store_true", help="print JSON, a line for each part")
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")

    def part(name: str, help_text: str, run: Part) -> argparse.ArgumentParser:
        sub = parts.add_parser(name, parents=[common], help=help_text, description=help_text)
        sub.set_defaults(run=run)
        return sub

    def times(sub: argparse.ArgumentParser, default: int, what: str) -> None:
        sub.add_argument("--times", type=int, default=default, metavar="N", help=f"{what} ({default})")

    sub = part("kill", "kill services at random moments", one(lambda folder, w: kills.run(folder, w.seed, w.kills)))
    sub.add_argument("--kills", type=int, default=100, metavar="N", help="processes (100)")
    sub = part(
        "power",
        "cut the power below the page cache",
        one(lambda folder, w: power.cut_power(folder, w.seed, w.fs, w.cuts, w.seconds)),
    )
    sub.add_argument("--fs", choices=("ext4", "xfs"), default="ext4", help="the file system (ext4)")
    sub.add_argument("--cuts", type=int, default=10, metavar="N", help="cuts (10)")
    sub.add_argument("--seconds", type=float, default=20, metavar="N", help="length of the recorded run (20)")
    sub = part(
        "flush-failure",
        "let a flush, a write or a renaming fail, then crash",
        one(lambda folder, w: flush_failure.run(folder, w.seed, w.times)),
    )
    times(sub, 2 * len(flush_failure.FAULTS), "crashes, the faults taking turns")
    sub = part(
        "slow",
        "let flushes take long, then crash",
        one(lambda folder, w: flush_failure.run(folder, w.seed, w.times, flush_failure.SLOW, "slow")),
    )
    times(sub, 2 * len(flush_failure.SLOW), "crashes, the faults taking turns")
    sub = part("rot", "damage the journal", one(lambda folder, w: rot.run(folder, w.seed, w.times, w.ways)))
    times(sub, 1, "in each way")
    ways = len(rot.DAMAGES)
    sub.add_argument("--ways", type=int, default=ways, metavar="N", help=f"the first N ways of {ways}")
    sub = part("full", "no space, no inodes, read-only", one(lambda folder, w: full.run(folder, w.seed, w.times)))
    times(sub, 1, "rounds of three")
    sub = part("restart", "clean and dirty stops", one(lambda folder, w: restart.run(folder, w.seed, w.times)))
    times(sub, 5, "stops of each kind")
    sub = part("soak", "mixed load for hours", one(lambda folder, w: soak.run(folder, w.seed, w.hours)))
    sub.add_argument("--hours", type=float, default=0.05, metavar="N", help="how long (0.05)")
    sub = part("all", "every part, each with its share of the time", every)
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
        for report in words.run(folder, words):
            print(report.json() if words.json else report.table(), flush=True)
            passed &= report.passed
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
