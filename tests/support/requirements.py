"""What a test needs of the machine beside Python: programs, namespaces, packages that are unpacked.

`./test` provides all of it before the tests start, as root and where it may.  What is truly missing is a skip with its
reason; under continuous integration (CI=true) it is a failure, for there nothing is missing.
"""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "eqmail_core"


def lack(what: str) -> None:
    """End a test for which something is missing."""
    reason = f"needs {what}; ./test as root provides it where it can be had"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def demand_programs(*names: str) -> None:
    """Skip a test whose programs are not installed."""
    missing = [name for name in names if not shutil.which(name)]
    if missing:
        lack(f"{' and '.join(missing)} in PATH")


def open_terminal() -> tuple[int, int]:
    """A pseudo terminal: the descriptors of both ends.  Skips the test where the machine gives none."""
    try:
        return os.openpty()
    except OSError:
        lack("pseudo terminals (/dev/pts)")
        raise


def demand_own_sources() -> None:
    """Skip a test that looks at byte code, which setup can keep beside sources of the caller's own only."""
    if not os.access(SOURCES, os.W_OK):
        lack("sources that the caller can write to")


def demand_namespaces(*kinds: str) -> None:
    """Skip a test that needs namespaces of its own (mount, net, pid, uts) where the machine gives none.

    A container may have no right to them, and after chroot nothing can be mounted privately.
    """
    if trouble := _trouble_with_namespaces(kinds or ("mount", "pid")):
        lack(f"namespaces ({', '.join(kinds or ('mount', 'pid'))}): {trouble}")


@cache
def _trouble_with_namespaces(kinds: tuple[str, ...]) -> str:
    if not shutil.which("unshare"):
        return "no unshare in PATH"
    words = [f"--{kind}" for kind in kinds]
    words += ["--propagation", "private"] if "mount" in kinds else []
    words += ["--fork"] if "pid" in kinds else []
    try:
        ended = subprocess.run(["unshare", *words, "true"], capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "unshare does not end"
    return ended.stderr.strip() or f"exit code {ended.returncode}" if ended.returncode else ""
