"""A backup holds settings, users and aliases with owners and modes; a restore is a transaction."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from tests.integration.toolkit.conftest import picture


def test_a_restore_puts_back_what_was_saved(at_home: str, tmp_path: Path) -> None:
    assert run(["--home", at_home, "alias", "init", "joe@elsewhere.example"]) == 0
    assert run(["--home", at_home, "user", "add", "ann"]) == 0
    Path(at_home, "users/ann/.Maildir/new/1.2.x").write_text("mail\n")
    archive = str(tmp_path / "saved.tar.gz")
    assert run(["--home", at_home, "backup", archive]) == 0
    assert os.stat(archive).st_mode & 0o777 == 0o600
    with tarfile.open(archive) as opened:
        assert not [name for name in opened.getnames() if "new" in name or name.startswith(("queue", "history"))]
    before = picture(at_home)
    assert run(["--home", at_home, "config", "set", "me", "other.example"]) == 0
    assert run(["--home", at_home, "alias", "remove", "abuse"]) == 0
    changed = picture(at_home)
    assert run(["--home", at_home, "restore", archive, "--dry-run"]) == 0
    assert picture(at_home) == changed
    assert run(["--home", at_home, "restore", archive]) == 0
    assert picture(at_home) == before
    assert run(["--home", at_home, "rollback"]) == 0
    assert picture(at_home) == changed


def test_an_existing_file_is_not_overwritten(at_home: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine\n")
    assert run(["--home", at_home, "backup", str(tmp_path / "file")]) == ExitCode.USAGE
    assert (tmp_path / "file").read_text() == "mine\n"


def test_another_archive_is_refused(at_home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in (("text", b"no archive\n"), ("empty.tar", b"\0" * 10240)):
        (tmp_path / name).write_bytes(content)
        assert run(["--home", at_home, "restore", str(tmp_path / name)]) == ExitCode.FAILED
    assert capsys.readouterr().err.count("eqmail: error: ") == 2


def test_nothing_is_written_outside_of_the_installation(at_home: str, tmp_path: Path) -> None:
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("site", "control/../../evil", "/etc/evil", "bin/evil"):
            member = tarfile.TarInfo(name)
            member.size = 5
            archive.addfile(member, io.BytesIO(b"evil\n"))
    before = picture(at_home)
    assert run(["--home", at_home, "restore", str(path)]) == 0
    assert picture(at_home) == before
    assert not (tmp_path / "evil").exists()
