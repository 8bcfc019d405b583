"""Completion: each shell gets its script, and the script's question is answered."""

import os
import shutil
import subprocess
import sys

import pytest

from eqmail_setup.cli.app import run
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


def test_an_unknown_shell_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "csh"]) == ExitCode.USAGE
    assert is_one_error(capsys.readouterr().err)
