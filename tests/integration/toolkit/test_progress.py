"""The moving bar: seen on a terminal while something takes its time, gone without a trace, and nowhere else."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.requirements import open_terminal

LINES = 40_000
_CONTROL = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])")


def screen(output: str) -> list[str]:
    """What a terminal shows in the end, without its empty lines."""
    rows, row, column = [""], 0, 0
    while output:
        match = _CONTROL.match(output)
        if match:
            output = output[match.end() :]
            if match[2] == "A":
                row = max(0, row - int(match[1] or 1))
            elif match[2] == "K":
                rows[row] = "" if match[1] == "2" else rows[row][:column]
            else:
                assert match[2] in "mhl", match[0]
            continue
        sign, output = output[0], output[1:]
        if sign == "\n":
            row += 1
            rows += [""] * (row == len(rows))
        elif sign == "\r":
            column = 0
        else:
            rows[row] = rows[row][:column].ljust(column) + sign + rows[row][column + 1 :]
            column += 1
    return [line for line in rows if line]


def on_terminal(*words: str) -> str:
    """All that a command writes to a terminal of its own."""
    master, slave = open_terminal()
    environ = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-m", "eqmail_setup", *words]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environ) as process:
        os.close(slave)
        output = b""
        while True:
            try:
                output += os.read(master, 65536)
            except OSError:  # the last one has closed the other side
                break
    os.close(master)
    assert process.returncode == 0, output
    return output.decode()


@pytest.fixture
def many(at_home: str) -> str:
    """An installation with more users than are compiled in a moment."""
    lines = [f"=user{number}:vmail:1001:1001:/home/vmail/{number}:::\n" for number in range(LINES)]
    Path(at_home, "users/assign").write_text("".join([*lines, ".\n"]))
    return at_home


def test_a_progress_bar_is_shown_and_removed_before_output(many: str) -> None:
    output = on_terminal("--home", many, "user", "compile")
    assert "compiling users" in output and "100%" in output
    line, total = screen(output)
    assert line.startswith(f"Wrote {many}/users/cdb (") and total.startswith("1 change")
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l"), "the cursor is shown again"


def test_the_progress_bar_of_setup_is_removed(tmp_path: Path) -> None:
    output = on_terminal("--home", str(tmp_path / "home"), "setup", "--single-user")
    assert "Setting up" in output
    assert screen(output)[-1].endswith("(transaction 1).")
    assert not [line for line in screen(output) if "Setting up" in line]


def test_without_a_terminal_there_is_no_progress_bar(many: str) -> None:
    command = [sys.executable, "-m", "eqmail_setup", "--home", many, "user", "compile"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stderr == ""
    assert ended.stdout.startswith("Wrote ") and ended.stdout.count("\n") == 2
