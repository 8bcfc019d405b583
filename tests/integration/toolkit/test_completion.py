"""Completion: each shell gets its script, and the script's question is answered."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eqmail_setup.cli.app import run
from eqmail_setup.cli.commands import completion
from eqmail_setup.cli.commands.completion import SHELLS
from eqmail_setup.errors import ExitCode
from tests.support.error_text import is_one_error


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_a_script_that_it_can_parse(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_EQMAIL_COMPLETE" in script
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=script, text=True, capture_output=True).returncode == 0


def test_commands_are_completed() -> None:
    environ = {**os.environ, "_EQMAIL_COMPLETE": "bash_complete", "COMP_WORDS": "eqmail alias a", "COMP_CWORD": "2"}
    command = [sys.executable, "-m", "eqmail_setup"]
    assert subprocess.run(command, env=environ, capture_output=True, text=True).stdout == "plain,add\n"


def completed(home: str, *words: str) -> list[str]:
    """What a shell offers for the last word of a command line."""
    environ = {**os.environ, "_EQMAIL_COMPLETE": "bash_complete", "EQMAIL_HOME": home}
    environ |= {"COMP_WORDS": " ".join(["eqmail", *words]), "COMP_CWORD": str(len(words))}
    command = [sys.executable, "-m", "eqmail_setup"]
    said = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert said.stderr == ""
    return [line.partition(",")[2] for line in said.stdout.splitlines() if line]


def test_values_are_completed(at_home: str) -> None:
    assert run(["--home", at_home, "alias", "add", "sales", "joe@elsewhere.example"]) == 0
    assert run(["--home", at_home, "user", "add", "ann"]) == 0
    assert completed(at_home, "config", "show", "datab") == ["databytes"]
    assert completed(at_home, "config", "unset", "me", "datab") == ["databytes"]
    assert completed(at_home, "config", "set", "dnsblat", "g") == ["greeting"]
    assert completed(at_home, "config", "set", "chunking", "o") == ["on", "off"]
    assert completed(at_home, "domain", "remove", "mail") == ["mail.example.org"]
    assert completed(at_home, "alias", "show", "sa") == ["sales"]
    assert completed(at_home, "user", "show", "a") == ["ann"]
    assert completed(at_home, "rollback", "1") == ["1"]
    assert completed(at_home, "doctor", "--only", "relaying.o") == ["relaying.open"]
    Path(at_home, "queue/mess/0/28").touch()
    assert completed(at_home, "queue", "show", "2") == ["28"]


def test_without_an_installation_nothing_is_completed(tmp_path: Path) -> None:
    assert completed(str(tmp_path), "alias", "show", "sa") == []


def test_the_script_is_installed_where_the_shell_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for table in (completion.FOR_ALL, completion.FOR_ONE):
        monkeypatch.setitem(table, "bash", str(tmp_path / "completions/eqmail"))
    monkeypatch.setenv("SHELL", "/bin/bash")
    assert run(["completion", "--install"]) == 0
    assert "_EQMAIL_COMPLETE" in (tmp_path / "completions/eqmail").read_text()
    assert capsys.readouterr().out == f"Wrote {tmp_path}/completions/eqmail\n"


def test_an_unknown_shell_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "csh"]) == ExitCode.USAGE
    assert is_one_error(capsys.readouterr().err)
