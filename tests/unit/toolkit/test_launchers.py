"""The files in bin/: every program has one, it runs without site and environment, and odd paths do not break it."""

import subprocess
from pathlib import Path

import pytest

import eqmail_setup.installation.launchers
from eqmail_setup.installation.launchers import ROOT_ONLY_MODE, interpreter, launcher_text, launchers
from eqmail_setup.installation.managed_file import Origin, origin_of


def test_every_program_module_has_a_launcher_and_only_root_programs_are_unreadable() -> None:
    found = {program.name: program for program in launchers()}
    assert {"qmail-queue", "qmail-start", "config-fast", "mkusers", "eqmail"} <= set(found)
    assert {name for name, program in found.items() if program.mode == ROOT_ONLY_MODE} <= {
        "qmail-start",
        "qmail-lspawn",
        "qmail-newu",
        "qmail-newmrh",
    }
    assert not [name for name in found if "_" in name]


def test_launchers_carry_a_checksum() -> None:
    for program in launchers():
        assert origin_of(launcher_text(program, "/var/qmail")) is Origin.MANAGED


def run(tmp_path: Path, home: str) -> str:
    program = next(program for program in launchers() if program.name == "eqmail")
    file = tmp_path / "eqmail"
    file.write_bytes(launcher_text(program, home))
    file.chmod(0o755)
    ended = subprocess.run([file, "--version"], env={"PYTHONPATH": "/nowhere"}, capture_output=True, text=True)
    assert ended.stderr == ""
    return ended.stdout


def test_a_program_runs_without_help_of_the_environment(tmp_path: Path) -> None:
    assert run(tmp_path, "/var/qmail").startswith("eqmail, version ")


def test_a_home_with_quotes_and_bytes_beyond_ascii_is_written_safely(tmp_path: Path) -> None:
    assert run(tmp_path, '/tmp/it\'s "odd"\\é').startswith("eqmail, version ")


def test_an_interpreter_with_a_blank_in_its_path_is_started_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "my python"
    python.symlink_to(interpreter())
    monkeypatch.setattr(eqmail_setup.installation.launchers, "interpreter", lambda: str(python))
    assert run(tmp_path, "/var/qmail").startswith("eqmail, version ")
