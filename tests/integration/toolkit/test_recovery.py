"""A run that broke off is undone by the next command, whatever others have put into its way meanwhile."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from eqmail_setup.cli.app import run
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.manifest_nodes import PathKind, Permissions
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.history import History, TransactionRecord
from eqmail_setup.transaction.history import TransactionState as State
from eqmail_setup.transaction.operations import CreateNode, Operation, WriteFile

NOBODY = 65534


def own(mode: int) -> Permissions:
    return Permissions(*caller(), mode)


def broken_run(home: str, folder: Path) -> None:
    """A run on record that had made a Maildir in a user's home when it was cut off, and had edited a setting before."""
    world, history = DiskFilesystem(home), History(home)
    history.prepare()
    actions: list[Operation] = [
        WriteFile("control/databytes", b"1\n", own(0o644)),
        CreateNode(f"{folder}/Maildir", PathKind.DIRECTORY, own(0o700)),
        WriteFile(f"{folder}/Maildir/welcome", b"hello\n", own(0o600)),
    ]
    history.begin(TransactionRecord(0, 0, "root", "eqmail user add joe", State.STARTED, 0, ()), world, actions)
    for action in actions:
        action.apply(world)


def _link_of_another(maildir: Path) -> None:
    maildir.symlink_to("/etc")
    if os.geteuid() == 0:
        os.chown(maildir, NOBODY, NOBODY, follow_symlinks=False)
        os.chown(maildir.parent, NOBODY, NOBODY)


def _file(maildir: Path) -> None:
    maildir.write_text("in the way\n")


def _nothing(maildir: Path) -> None:
    """What was made is gone."""


@pytest.mark.parametrize("put", [_link_of_another, _file, _nothing])
def test_obstacles_left_by_others_block_no_command(
    tmp_path: Path, at_home: str, put: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "joe"
    folder.mkdir()
    broken_run(at_home, folder)
    (folder / "Maildir/welcome").unlink()
    (folder / "Maildir").rmdir()
    put(folder / "Maildir")
    capsys.readouterr()
    assert run(["--home", at_home, "config", "set", "timeoutconnect", "50"]) == 0
    output = capsys.readouterr().err
    assert "(eqmail user add joe) was interrupted" in output
    assert not Path(at_home, "control/databytes").exists(), "the rest is undone"
    assert [it.state for it in History(at_home).records() if it.command == "eqmail user add joe"] == [State.ABORTED]
    assert Path("/etc/passwd").exists()
    if put is _link_of_another and os.geteuid() == 0:
        assert f"{folder}/Maildir: changed since, not restored" in output
        assert f"{folder}/Maildir/welcome: a symbolic link in a place that others can write: changed since" in output
    assert run(["--home", at_home, "config", "set", "timeoutconnect", "60"]) == 0
    assert "broken off" not in capsys.readouterr().err


def test_a_temporary_error_is_no_edit(at_home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "joe"
    folder.mkdir()
    broken_run(at_home, folder)

    def full(self: DiskFilesystem, path: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", path)

    with monkeypatch.context() as patched:
        patched.setattr(DiskFilesystem, "remove_file", full)
        assert run(["--home", at_home, "config", "set", "timeoutconnect", "50"]) != 0
    assert [it.state for it in History(at_home).records() if it.command == "eqmail user add joe"] == [State.STARTED]
    assert run(["--home", at_home, "config", "set", "timeoutconnect", "50"]) == 0
    assert not (folder / "Maildir").exists()
