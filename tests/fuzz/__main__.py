"""python -m tests.fuzz [--seconds N] [TARGET...]: look for inputs that a target cannot take, N seconds for all targets.

With atheris (pip install atheris), inputs grow along the code that they reach; without it, they are changed at random.
An input that a target cannot take is kept in tests/fuzz/regressions/TARGET, where the tests run it from then on.
Exits: 0, 1 when there was one.
"""

import argparse
import hashlib
import importlib.util
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.mutation import mutations

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KEPT = HERE / "regressions"
MEMORY = 2 << 30
LONGEST = 16384
SLOWEST_S = 10


def main() -> int:
    """Give each target its share of the time, in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--alone", metavar="CORPUS", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("target", nargs="*")
    words = parser.parse_args()
    if words.alone:
        fuzz(words.target[0], words.seconds, words.alone)
        return 0
    from tests.fuzz.targets import TARGETS

    names = words.target or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"no such target: {' '.join(sorted(unknown))}")
    deadline, start_up_s = time.monotonic() + words.seconds, 1.0
    codes = []
    for place, name in enumerate(names):
        begun = time.monotonic()
        share = max(1, round((deadline - begun) / (len(names) - place) - start_up_s))
        codes.append(run_alone(name, share))
        start_up_s = max(0.0, time.monotonic() - begun - share)
    return max(codes)


def run_alone(name: str, seconds: int) -> int:
    """Fuzz one target in another process, which may crash; print its result in a line."""
    folder = KEPT / name
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="eqmail-fuzz-") as corpus:
        command = [sys.executable, "-m", "tests.fuzz", "--alone", corpus, "--seconds", str(seconds), name]
        environ = os.environ | {"TMPDIR": corpus}
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    if not any(folder.iterdir()):
        folder.rmdir()
    counts = [line for line in done.stderr.splitlines() if line.startswith(("Done", "stat::number_of_executed"))]
    print(f"{name:14} {'ok' if done.returncode == 0 else 'FAILED'}  {counts[-1] if counts else ''}", flush=True)
    if done.returncode:
        print(done.stdout[-3000:], done.stderr[-3000:], sep="\n", flush=True)
    return int(done.returncode != 0)


def fuzz(name: str, seconds: int, corpus: Path) -> None:
    """Fuzz one target in this process until time is over or an input fails."""
    if importlib.util.find_spec("atheris") is None:
        from tests.fuzz.seeds import seeds
        from tests.fuzz.targets import TARGETS

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        fuzz_at_random(name, TARGETS[name], seeds().get(name, []), seconds)
        return
    import atheris

    with atheris.instrument_imports(include=["eqmail_core"], enable_loader_override=False):
        from tests.fuzz.seeds import seeds
        from tests.fuzz.targets import TARGETS
    for number, data in enumerate(seeds().get(name, [])):
        (corpus / f"seed{number}").write_bytes(data)
    options = {
        "max_total_time": seconds,
        "max_len": LONGEST,
        "rss_limit_mb": MEMORY >> 20,
        "timeout": SLOWEST_S,
        "artifact_prefix": f"{KEPT / name}/",
        "print_final_stats": 1,
    }
    atheris.Setup([name, *[f"-{key}={value}" for key, value in options.items()], str(corpus)], TARGETS[name])
    atheris.Fuzz()


def fuzz_at_random(name: str, target: Callable[[bytes], None], seeds: list[bytes], seconds: int) -> None:
    """Try random inputs; the first that fails is kept."""
    deadline = time.monotonic() + seconds
    count = 0
    for data in mutations(seeds, random.Random()):
        try:
            target(data)
        except BaseException:
            (KEPT / name / f"crash-{hashlib.sha1(data).hexdigest()}").write_bytes(data)
            raise
        count += 1
        if time.monotonic() > deadline:
            break
    print(f"Done {count} runs", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
