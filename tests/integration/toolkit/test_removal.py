"""Uninstalling asks, removes the files of setup and the gen commands, and keeps settings and mail by default."""

import os
from pathlib import Path

import pytest

from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from tests.integration.toolkit.conftest import picture


def test_scripts_have_to_confirm(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--purge"]):
        assert run(["--home", at_home, "uninstall", *more]) == ExitCode.FAILED
        assert "--yes" in capsys.readouterr().err
    assert Path(at_home, "bin/eqmail").exists()


def test_settings_and_mail_stay_and_a_rollback_brings_the_rest_back(at_home: str, tmp_path: Path) -> None:
    Path(at_home, "queue/mess/0/28").write_text("a message\n")
    words = ["gen-runit", "--install", "--set", f"folder={tmp_path}/sv", "--set", f"logdir={tmp_path}/log"]
    assert run(["--home", at_home, *words]) == 0
    before = picture(at_home)
    assert run(["--home", at_home, "uninstall", "--yes"]) == 0
    assert os.listdir(f"{at_home}/bin") == ["plugins"]
    assert not (tmp_path / "sv/qmail-send/run").exists()
    assert Path(at_home, "control/me").exists()
    assert Path(at_home, "queue/mess/0/28").read_text() == "a message\n"
    assert run(["--home", at_home, "rollback"]) == 0
    assert picture(at_home) == before
    assert (tmp_path / "sv/qmail-send/run").exists()


def test_what_was_edited_stays(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    program = Path(at_home, "bin/forward")
    program.write_bytes(program.read_bytes() + b"# mine\n")
    assert run(["--home", at_home, "uninstall", "--yes"]) == 0
    assert f"{program}: locally modified" in capsys.readouterr().out
    assert program.exists()


def test_a_purge_leaves_nothing(at_home: str) -> None:
    assert run(["--home", at_home, "uninstall", "--purge", "--dry-run"]) == 0
    assert Path(at_home, "control/me").exists()
    assert run(["--home", at_home, "uninstall", "--purge", "--yes"]) == 0
    assert not os.path.lexists(at_home)
