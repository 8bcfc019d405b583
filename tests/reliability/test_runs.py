"""Short runs of every part: nothing acknowledged is lost, and nothing is left over."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.mounts import MAKE
from tests.support import network
from tests.support.database import programs
from tests.support.mail_system import python_is_reachable

WITHIN_S = 900
"""The time limit of a part; then it reports what it waits for."""

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(WITHIN_S + 300),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts, loop devices and FUSE of Linux"),
    pytest.mark.skipif(not python_is_reachable(), reason="other accounts cannot run this interpreter"),
]
needs_disks = pytest.mark.skipif(
    not all(map(os.path.exists, ("/dev/fuse", "/dev/loop-control"))), reason="needs FUSE and loop devices"
)
ROOT = Path(__file__).resolve().parents[2]


def run(*words: str) -> list[dict[str, Any]]:
    """Run a part as people do; the rows of its table."""
    command = [sys.executable, "-m", "tests.reliability", *words, "--json", "--within", str(WITHIN_S)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert reports and all(report["passed"] for report in reports), done.stdout + done.stderr
    return [row for report in reports for row in report["rows"]]


def test_killed_services_lose_nothing() -> None:
    (row,) = run("kill", "--kills", "25")
    assert row["kills"] >= 25 and row["acknowledged"] > 10


@pytest.mark.skipif(programs() is None, reason="needs PostgreSQL")
def test_nodes_that_share_a_queue_lose_nothing() -> None:
    if trouble := network.trouble():
        pytest.skip(f"hosts of a private network: {trouble}")
    (row,) = run("cluster", "--minutes", "0.3", "--rate", "30")
    assert row["faults"] > 1 and row["acknowledged"] > 10


@needs_disks
@pytest.mark.parametrize("kind", MAKE)
def test_power_cuts_lose_nothing(kind: str) -> None:
    if shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"needs mkfs.{kind}")
    rows = run("power", "--fs", kind, "--cuts", "2", "--seconds", "3")
    assert sum(row["cuts"] for row in rows) == 2


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_failed_flush_and_a_crash_lose_nothing() -> None:
    rows = run("flush-failure", "--times", "2")
    assert [row["crashes"] for row in rows] == [1, 1]


@needs_disks
def test_damage_in_the_journal_is_reported_and_loses_only_damaged_records() -> None:
    rows = run("rot", "--ways", "3")
    assert [row["times"] for row in rows] == [1, 1, 1]


def test_a_clean_stop_makes_no_copies() -> None:
    clean, dirty = run("restart", "--times", "1")
    assert clean["stops"] == dirty["stops"] == 1
