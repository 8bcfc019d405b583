"""The demonstration: real services deliver, run a program, bounce, and leave nothing running."""

import os
import shutil
import signal
import smtplib
import subprocess
import sys
from pathlib import Path

import pytest

from eqmail_setup.cli.app import run
from eqmail_setup.cli.commands.demo import MARK
from eqmail_setup.demo import HOST, free_port, remove_old_demo
from eqmail_setup.errors import EqmailError, ExitCode
from tests.support.mail_system import until


def test_the_demonstration_delivers_over_every_way_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["demo", "--folder", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    home = Path(output.split("Setting up a private installation in ")[1].split("\n")[0])
    ann = home / "people/ann"
    letters = [path.read_text() for path in (ann / "Maildir/new").iterdir()]
    assert sorted(text.split("\nSubject: ")[1].split("\n")[0] for text in letters) == [
        "Hello from a program",
        "Hello over SMTP",
        "failure notice",
    ]
    assert any("\n.dotted\n" in text for text in letters)
    assert "to ann+count@" in (ann / "handled").read_text()
    assert f"<unknown@{HOST}>:" in output
    assert "log: end msg" in output
    port = int(output.split("1. over SMTP, 127.0.0.1:")[1].split(",")[0])
    with pytest.raises(OSError, match="refused"):
        smtplib.SMTP("127.0.0.1", port, timeout=60)
    shutil.rmtree(home)


def test_a_folder_that_no_demonstration_made_is_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "precious").touch()
    assert run(["demo", "--folder", str(tmp_path)]) == ExitCode.FAILED
    assert (home / "precious").exists()


def test_a_link_is_never_cleared_away(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / MARK).touch()
    (tmp_path / "home").symlink_to(real)
    with pytest.raises(EqmailError):
        remove_old_demo(str(tmp_path / "home"), MARK)
    assert (real / MARK).exists()


def test_a_port_that_is_taken_is_passed_over() -> None:
    import socket

    first = free_port(20000)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()
        assert free_port(first) > first


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_demonstration_that_is_ended_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-u", "-m", "eqmail_setup", "demo", "--folder", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout)
        home = next(line for line in lines if line.startswith("Setting up ")).split()[-1]
        assert any(line.startswith("1. over SMTP") for line in lines)
        process.send_signal(number)
        process.stdout.read()
        assert process.wait(120) != 0
    until(lambda: not [pid for pid in filter(str.isdigit, os.listdir("/proc")) if mentions(pid, home)], "its end")


def mentions(pid: str, home: str) -> bool:
    try:
        return home.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
