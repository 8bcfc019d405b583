"""qmail-pwrap asks one checkpassword program after the other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import os, sys
from eqmail_core.programs.qmail_pwrap import main
os._exit(main([os.fsencode(word) for word in sys.argv], dict(os.environb)))
"""
SECRET = b"joe\0secret\0\0"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "control").mkdir()
    return tmp_path


def tools(home: Path, *codes: int) -> None:
    """Tools that note what they were given and end with these codes; the list names one more that does not exist."""
    names = [f"{home}/none"]
    for number, code in enumerate(codes):
        tool = home / f"tool{number}"
        tool.write_text(f'#!/bin/sh\n{{ cat <&3; echo " $*"; }} >{home}/asked{number}\nexit {code}\n')
        tool.chmod(0o755)
        names.append(str(tool))
    (home / "control/checkpwtools").write_text("# tools\n\n" + "\n".join(names) + "\n")


def pwrap(home: Path, secret: bytes | None = SECRET) -> int:
    give = "3<&-" if secret is None else "3<&0"
    command = ["/bin/sh", "-c", f'exec "$@" {give}', "sh", sys.executable, "-c", RUN, "/bin/true", "x"]
    environ = os.environ | {"EQMAIL_HOME": str(home)}
    return subprocess.run(command, input=secret or b"", env=environ, check=False).returncode


@pytest.mark.parametrize(
    ("codes", "result", "asked"),
    [((0,), 0, 1), ((1, 0, 0), 0, 2), ((1, 2), 1, 2), ((111, 0), 0, 2), ((111, 1), 111, 2), ((), 1, 0)],
)
def test_the_first_tool_that_accepts_decides(home: Path, codes: tuple[int, ...], result: int, asked: int) -> None:
    tools(home, *codes)
    assert pwrap(home) == result
    notes = sorted(home.glob("asked*"))
    assert len(notes) == asked
    assert all(note.read_bytes() == SECRET + b" /bin/true x\n" for note in notes)


def test_without_a_list_every_login_fails(home: Path) -> None:
    assert pwrap(home) == 1


def test_a_tool_that_cannot_be_started_is_a_temporary_failure(home: Path) -> None:
    tools(home, 1)
    (home / "tool0").chmod(0o644)
    assert pwrap(home) == 111


@pytest.mark.parametrize("secret", [None, b""])
def test_without_credentials_it_is_misuse(home: Path, secret: bytes | None) -> None:
    tools(home, 0)
    assert pwrap(home, secret) == 2
