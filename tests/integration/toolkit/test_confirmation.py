"""Before an action that cannot be rolled back, the command asks on a terminal, and only there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from tests.support.requirements import open_terminal


def on_terminal(words: list[str], typed: str) -> tuple[int, str]:
    """Run a command with a terminal, on which this is typed; its exit code and what the terminal showed."""
    main, side = open_terminal()
    try:
        command = [sys.executable, "-m", "eqmail_setup", *words]
        environ = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
        with subprocess.Popen(command, stdin=side, stdout=side, stderr=side, env=environ) as process:
            os.close(side)
            os.write(main, typed.encode())
            shown = b""
            try:
                while chunk := os.read(main, 4096):
                    shown += chunk
            except OSError:
                pass  # the other side is closed
            return process.wait(), shown.decode()
    finally:
        os.close(main)


@pytest.mark.parametrize(("typed", "more", "goes"), [("n\n", [], False), ("y\n", [], True), ("", ["--yes"], True)])
def test_on_a_terminal_the_command_asks(at_home: str, typed: str, more: list[str], goes: bool) -> None:
    assert run(["--home", at_home, "user", "add", "foo"]) == 0
    Path(at_home, "users/foo/.Maildir/new/1.2.x").write_text("mail\n")
    code, shown = on_terminal(["--home", at_home, "user", "remove", "foo", "--discard-mail", *more], typed)
    assert Path(at_home, "users/foo/.Maildir").exists() is not goes
    assert (code == 0) is goes, shown
    assert ("This cannot be undone. Continue?" in shown) is (not more)


def test_without_a_terminal_nothing_is_asked(at_home: str) -> None:
    assert run(["--home", at_home, "user", "add", "foo"]) == 0
    words = ["--home", at_home, "user", "remove", "foo", "--discard-mail"]
    done = subprocess.run(
        [sys.executable, "-m", "eqmail_setup", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])},
    )
    assert b"go on?" not in done.stdout + done.stderr
    assert not Path(at_home, "users/foo/.Maildir").exists()


@pytest.mark.parametrize(("typed", "goes"), [("n\n", False), ("y\n", True)])
def test_a_rollback_names_the_transaction_and_asks(at_home: str, typed: str, goes: bool) -> None:
    assert run(["--home", at_home, "config", "set", "databytes", "1000"]) == 0
    code, shown = on_terminal(["--home", at_home, "rollback"], typed)
    assert "Transaction 3: eqmail config set databytes 1000   (1 change)" in shown
    assert "Roll back? [y/N]" in shown
    assert (code == 0) is goes
    assert Path(at_home, "control/databytes").exists() is not goes


def test_two_rollbacks_never_remove_the_installation(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "rollback"]) == 0
    capsys.readouterr()
    assert run(["--home", at_home, "rollback"]) == ExitCode.FAILED
    assert f"hint: eqmail --home {at_home} uninstall\n" in capsys.readouterr().err
    assert Path(at_home, "bin/eqmail").exists()
