"""`eqmail cluster demo`: the killed node's mail is delivered by the other, and nothing is left."""

import os
import re
from pathlib import Path

import pytest

from eqmail_setup import private_database
from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from tests.support.database import programs

pytestmark = pytest.mark.slow


@pytest.mark.timeout(600)
@pytest.mark.skipif(programs() is None, reason="needs PostgreSQL")
def test_the_demonstration_moves_the_mail_of_a_killed_node_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["cluster", "demo"]) == 0
    output = capsys.readouterr().out
    assert "cluster status: ann active, 5 messages" in output
    assert "log of bob: qmail-queue: warning: node ann is gone; its messages are taken over" in output
    assert sorted(re.findall(r": Subject: (message \d)\n", output)) == [f"message {number}" for number in range(1, 6)]
    assert output.count("cluster status: bob active, 0 messages") == 2
    found = re.search(r"private PostgreSQL in (\S+)/pg\n", output)
    assert found is not None and not os.path.exists(found[1])
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and _belongs(pid, found[1])]


def _belongs(pid: str, folder: str) -> bool:
    try:
        return folder.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_folder_that_exists_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "precious").touch()
    assert run(["cluster", "demo", "--folder", str(tmp_path)]) == ExitCode.FAILED
    assert "must be a new one" in capsys.readouterr().err
    assert (tmp_path / "precious").exists()


def test_without_postgresql_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(private_database, "glob", lambda pattern: [])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(["cluster", "demo", "--folder", str(tmp_path / "new")]) == ExitCode.FAILED
    assert "initdb of PostgreSQL is not installed" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
