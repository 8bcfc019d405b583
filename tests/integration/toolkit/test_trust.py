"""Root trusts no file, folder or home that another account could have made just because it is the current one."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_setup.cli.app import run
from eqmail_setup.errors import EqmailError, ExitCode
from eqmail_setup.installation.trust import doubt_about, doubt_on_the_way_to

NOBODY = 65534
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files of others")


@pytest.fixture
def around(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder of root; its path is short, as required of a home."""
    with tempfile.TemporaryDirectory(prefix="eqmail-trust-", dir="/tmp") as above:
        folder = Path(above) / "sources"
        folder.mkdir(mode=0o755)
        monkeypatch.chdir(folder)
        monkeypatch.delenv("EQMAIL_HOME", raising=False)
        yield folder


def is_preferred(folder: Path, capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether a conf-split in the current folder counts; a note reports it either way."""
    (folder / "conf-split").write_text("7\n")
    return _counts(folder, capsys)


def _counts(folder: Path, capsys: pytest.CaptureFixture[str]) -> bool:
    home = folder.parent / "home"
    assert run(["--home", str(home), "setup", "--single-user"]) == 0
    output = capsys.readouterr().err
    used = (home / "queue/mess/6").is_dir() and not (home / "queue/mess/7").exists()
    assert ("chosen by conf-split in" if used else "conf-split in") in output
    assert ("not used: " in output) is not used
    return used


def test_build_settings_in_an_own_folder_count(around: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert is_preferred(around, capsys)


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o1777])
def test_build_settings_in_a_folder_writable_for_others_do_not_count(
    around: Path, mode: int, capsys: pytest.CaptureFixture[str]
) -> None:
    around.chmod(mode)
    assert not is_preferred(around, capsys)


def test_build_settings_in_a_folder_of_another_user_do_not_count(
    around: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.chown(around, NOBODY, NOBODY)
    assert not is_preferred(around, capsys)


def test_a_build_setting_of_another_user_does_not_count(around: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (around / "conf-split").write_text("7\n")
    os.chown(around / "conf-split", NOBODY, NOBODY)
    assert not _counts(around, capsys)


def test_an_explicit_folder_counts_with_any_owner(around: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (around / "conf-split").write_text("7\n")
    os.chown(around, NOBODY, NOBODY)
    home = around.parent / "home"
    assert run(["--home", str(home), "setup", "--single-user", "--conf", "."]) == 0
    assert not (home / "queue/mess/7").exists()


def test_a_home_named_by_a_file_of_another_user_is_refused(around: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (around / "conf-qmail").write_text(f"{around}/trap\n")
    os.chown(around, NOBODY, NOBODY)
    run(["setup", "--dry-run"])
    output = capsys.readouterr()
    assert "not used: belongs to nobody" in output.err
    assert "trap" not in output.out


@pytest.mark.parametrize(
    "words", [["setup", "--single-user"], ["run"], ["check"], ["config", "set", "me", "a.example"]]
)
def test_a_home_of_another_user_is_not_taken_from_the_environment(
    around: Path, words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = around / "home"
    assert run(["--home", str(home), "setup", "--single-user"]) == 0
    os.chown(home, NOBODY, NOBODY)
    monkeypatch.setenv("EQMAIL_HOME", str(home))
    capsys.readouterr()
    assert run(words) == ExitCode.PERMISSION
    assert f"{home}: belongs to nobody" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["", "bin", "bin/qmail-start", "site", ".."])
def test_programs_that_others_could_replace_are_not_run(
    around: Path, part: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*words: object) -> None:
        raise AssertionError(words)

    home = around / "home"
    assert run(["--home", str(home), "setup", "--single-user"]) == 0
    monkeypatch.setattr(os, "execve", never)
    os.chown(home / part, NOBODY, NOBODY)
    assert run(["--home", str(home), "run"]) == ExitCode.PERMISSION
    if part != "bin/qmail-start":  # which setup rewrites
        assert run(["--home", str(home), "setup", "--single-user"]) == ExitCode.PERMISSION
    assert "belongs to nobody, so " in capsys.readouterr().err


@pytest.mark.parametrize("owner", [NOBODY, 0])
def test_templates_of_others_are_not_rendered_for_root(
    around: Path, owner: int, capsys: pytest.CaptureFixture[str]
) -> None:
    home = around / "home"
    assert run(["--home", str(home), "setup", "--single-user"]) == 0
    templates = around / "templates/services/init"
    templates.mkdir(parents=True)
    (templates / "sysv.j2").write_text("#!/bin/sh\n")
    os.chown(templates / "sysv.j2", owner, owner)
    code = run(["--home", str(home), "gen-init", "--templates", str(around / "templates"), "--dry-run"])
    output = capsys.readouterr().err
    assert (code == ExitCode.PERMISSION) == (owner == NOBODY), output


def test_a_world_writable_sticky_folder_is_safe(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "mine").mkdir(mode=0o755)
    shared.chmod(0o1777)
    assert not doubt_on_the_way_to(str(shared / "mine"))
    assert doubt_about(str(shared)) == "everybody can write there"
    shared.chmod(0o777)
    assert doubt_on_the_way_to(str(shared / "mine")) == f"{shared}: everybody can write there"


def test_group_writable_paths_are_named(tmp_path: Path) -> None:
    os.chown(tmp_path, 0, NOBODY)
    tmp_path.chmod(0o775)
    assert "can write there" in doubt_about(str(tmp_path))
    os.chown(tmp_path, 0, 0)
    assert not doubt_about(str(tmp_path))


def test_the_refusal_names_the_remedy(tmp_path: Path) -> None:
    from eqmail_setup.installation.trust import demand_trusted

    os.chown(tmp_path, NOBODY, NOBODY)
    with pytest.raises(EqmailError, match="or give it to root"):
        demand_trusted([str(tmp_path)], "what is run")
