"""Every program in surroundings that it was not made for: it ends, with a code of its own, in words for people."""

import re
import subprocess
from pathlib import Path

import pytest

from eqmail_core.control.controls import Controls
from eqmail_setup.installation.launchers import TOOLKIT_PROGRAMS, launchers
from tests.conftest import eqmail

pytestmark = pytest.mark.slow

# qmail-start would start all services; programs of the toolkit are tested in tests/integration/toolkit.
PROGRAMS = [program.name for program in launchers() if program.name not in {"qmail-start", *TOOLKIT_PROGRAMS}]

USUAL = {0, 100, 111}
QUEUE = {54, 55, 61, 62, 71, 120}
"""Codes of qmail-queue: read error, settings, home, queue, service away, cannot be run."""
EXITS = {
    "qmail-queue": QUEUE,
    "qmail-bfque": QUEUE | USUAL,
    "qmail-qmqpc": QUEUE,
    "qmail-chkpw": {1, 2, 111},
    "qmail-pwrap": {1, 2, 111},
    "qmail-smtpd": {1, 111},
    "qmail-popup": {1, 111},
    "qmail-shcfg": {0, 1, 111},
}
NOT_FOR_PEOPLE = re.compile(rb"Traceback|Errno|\b[A-Z]\w*(Error|Exception|Interrupt)\b")

# How the shell starts it.
COMMANDS = {
    "without words": "exec PROGRAM",
    "with an unknown option": "exec PROGRAM -Z9",
    "with strange words": "exec PROGRAM '' '%s' \"$(printf '\\377\\n')\" /",
    "without descriptor 0": "exec PROGRAM a b <&-",
    "without descriptor 1": "exec PROGRAM a b >&-",
    "without descriptor 2": "exec PROGRAM a b 2>&-",
    "without any descriptor": "exec PROGRAM <&- >&- 2>&-",
    "onto a full disk": "exec PROGRAM a b >/dev/full",
    "complaining to a full disk": "exec PROGRAM -Z9 2>/dev/full",
    "into a closed pipe": "{ sleep 0.3; exec PROGRAM a b; } | :",
    "in a folder that has gone": "mkdir gone && cd gone && rmdir ../gone && exec PROGRAM a b",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bad") / "home"
    assert eqmail("--home", made, "setup", "--single-user").returncode == 0
    assert eqmail("--home", made, "config-fast", "mail.example.org").returncode == 0
    return made


def ends_well(home: Path, folder: Path, command: str, **environ: str) -> None:
    """Run each program; complain about all that do not."""
    wrong = []
    for name in PROGRAMS:
        run = subprocess.run(
            ["/bin/sh", "-c", command.replace("PROGRAM", f"{home}/bin/{name}")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            cwd=folder,
            env={"PATH": f"{home}/bin:/usr/bin:/bin", "USER": "x", **environ},
            timeout=60,
        )
        # The shell reports the exit code of the last part of a pipe, which is not the program.
        allowed = {0} if "|" in command else EXITS.get(name, USUAL)
        if run.returncode not in allowed or NOT_FOR_PEOPLE.search(run.stderr + run.stdout):
            wrong.append(f"{name}: {run.returncode} {run.stderr!r} {run.stdout[-200:]!r}")
    assert not wrong


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_program_in_a_bad_environment_ends_with_an_error_message(home: Path, tmp_path: Path, command: str) -> None:
    ends_well(home, tmp_path, command)


def test_a_missing_home_is_reported(home: Path, tmp_path: Path) -> None:
    ends_well(home, tmp_path, "exec PROGRAM a b", EQMAIL_HOME=str(tmp_path / "none"))


@pytest.mark.parametrize("text", [b"layout nonsense\n", b"split many\n", b"users alias\n", b"\0\xff"])
def test_an_invalid_site_file_is_reported(home: Path, tmp_path: Path, text: bytes) -> None:
    other = tmp_path / "home"
    other.mkdir()
    (other / "bin").symlink_to(home / "bin")
    (other / "site").write_bytes(text)
    ends_well(home, tmp_path, "exec PROGRAM a b", EQMAIL_HOME=str(other))


def test_unreadable_settings_are_reported(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "home"
    for control in Controls.declared().values():
        (other / "control" / control.file).mkdir(parents=True)
    (other / "bin").symlink_to(home / "bin")
    (other / "site").write_bytes((home / "site").read_bytes())
    ends_well(home, tmp_path, "exec PROGRAM a b", EQMAIL_HOME=str(other))
