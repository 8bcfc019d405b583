"""The runner itself: it ends, reports what it waits for, and leaves foreign processes alone."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.reliability import installation as module
from tests.reliability.installation import Failed, Installation, Session, Stat, read_stat
from tests.support.mail_system import python_is_reachable

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def idle(tmp_path: Path) -> Installation:
    """An installation without files, whose parent is a process that sleeps."""
    made = Installation(tmp_path / "idle", 1)
    made.process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    leader = read_stat(made.pid)
    assert leader is not None
    made._sessions = [Session(made.pid, leader.started)]
    return made


def test_processes_of_its_sessions_are_its_own_and_end(idle: Installation) -> None:
    assert idle.processes() == {idle.pid: "sleep"}
    assert idle.kill_all() == 1
    assert not idle.processes() and not idle.is_up


def test_a_session_with_a_reused_number_is_foreign(idle: Installation) -> None:
    ours = idle._sessions[0]
    idle._sessions = [ours._replace(started=ours.started - 1)]
    assert not idle.processes()
    idle._sessions = [ours]
    idle.kill_all()
    assert not idle.processes() and not idle._sessions, "it is forgotten with its last process"


def test_processes_that_do_not_end_are_a_failure(idle: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KILL_S", 0.1)
    monkeypatch.setattr(module, "kill", lambda pid: True)
    with pytest.raises(Failed, match="the parent was killed"):
        idle.kill_all()
    monkeypatch.setattr(module, "read_stat", lambda pid: Stat("stuck", "D", idle.pid, 0) if pid != idle.pid else None)
    with pytest.raises(Failed, match=r"still there.*stuck"):
        idle.kill_all()
    monkeypatch.undo()
    idle.kill_all()


def test_services_that_end_are_started_again_while_mail_waits(
    idle: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle.kill_all()
    begun: list[float] = []
    monkeypatch.setattr(idle, "begin", lambda: begun.append(time.monotonic()))
    monkeypatch.setattr(idle, "waiting", lambda: 0 if len(begun) > 1 else 1)
    assert idle.drain(60)
    assert len(begun) > 1


@pytest.mark.root
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts of Linux")
@pytest.mark.skipif(not python_is_reachable(), reason="other accounts cannot run this interpreter")
@pytest.mark.timeout(300)
def test_a_part_over_its_time_limit_reports_every_process_and_fails() -> None:
    command = [sys.executable, "-m", "tests.reliability", "kill", "--kills", "1000000", "--within", "25"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "not done in 25 s" in done.stderr and "kills.py" in done.stderr and "-- queue" in done.stderr
    workspace = Path(done.stderr.partition("== ")[2].partition("/kills/")[0])
    assert workspace.is_absolute() and not workspace.exists()
    users = [path for path in Path("/proc").glob("[0-9]*/environ") if str(workspace).encode() in _content(path)]
    assert not users


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
