"""What a million lines of users/assign cost: `eqmail user compile`, qmail-newu, and one look-up in databases of each size.

    python tests/benchmarks/assign.py [LINES]

Makes a private installation in a temporary folder. Prints a table in Markdown: elapsed seconds, CPU seconds, the most
memory that the process had, and the time of one look-up (found by name, found by wildcard, not found), in microseconds.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from eqmail_core.users.database import find_user  # noqa: E402
from eqmail_core.site.site import Site  # noqa: E402


def main() -> None:
    """Measure and print."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="eqmail-assign-") as folder:
        home = f"{folder}/home"
        toolkit("--home", home, "setup", "--single-user")
        print("| lines | `eqmail user compile` | qmail-newu | users/cdb | look-up by name | by wildcard | of nobody |")
        print("|---|---|---|---|---|---|---|")
        size = 1000
        while size <= most:
            write(Path(home, "users/assign"), size)
            cells = [measured([sys.executable, "-m", "eqmail_setup", "--home", home, "user", "compile"])]
            cells += [measured([f"{home}/bin/qmail-newu"])]
            cells += [f"{os.path.getsize(f'{home}/users/cdb') / 1e6:.1f} MB"]
            cells += [f"{one:.1f} us" for one in looked_up(Site(home), size)]
            print(f"| {size:,} | {' | '.join(cells)} |", flush=True)
            size *= 10


def toolkit(*words: str) -> None:
    command = [sys.executable, "-m", "eqmail_setup", *words]
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)


def write(path: Path, lines: int) -> None:
    """Half of the lines are names, half wildcards."""
    with path.open("w") as file:
        for number in range(lines // 2):
            file.write(f"=user{number}:vmail:1001:1001:/home/vmail/{number % 100}/user{number}:::\n")
            file.write(f"+user{number}+:vmail:1001:1001:/home/vmail/{number % 100}/user{number}:-::\n")
        file.write(".\n")


def measured(command: list[str]) -> str:
    begun = time.monotonic()
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, command
    elapsed = time.monotonic() - begun
    cpu = usage.ru_utime + usage.ru_stime
    return f"{elapsed:.2f} s, {cpu:.2f} s CPU, {usage.ru_maxrss / 1024:.0f} MB"


def looked_up(site: Site, lines: int) -> list[float]:
    """Microseconds of one look-up of each kind: the median of batches, opening the database included."""
    found = []
    for pattern in ("user{}", "user{}+extension", "stranger{}"):
        names = [pattern.format(number * 7919 % (lines // 2)).encode() for number in range(500)]
        times = []
        for _ in range(9):
            begun = time.perf_counter()
            for name in names:
                find_user(site, name)
            times.append((time.perf_counter() - begun) / len(names) * 1e6)
        found.append(median(times))
    return found


if __name__ == "__main__":
    main()
