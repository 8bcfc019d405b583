"""Root changes nothing that a service account could have put in its way."""

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from eqmail_setup.errors import EqmailError
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.lock import locked
from eqmail_setup.installation.manifest_nodes import PathKind, Permissions
from eqmail_setup.transaction import disk_filesystem as disk_world
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.filesystem import UntrustedPathError


def own(mode: int) -> Permissions:
    return Permissions(*caller(), mode)


@pytest.mark.root
def test_root_follows_no_link_that_another_account_made(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    victim = tmp_path / "victim"
    victim.write_text("secret")
    victim.chmod(0o600)
    folder = tmp_path / "home/queue"
    folder.mkdir(parents=True)
    os.chown(folder, nobody, -1)
    link = folder / "trigger"
    link.symlink_to(victim)
    os.chown(link, nobody, -1, follow_symlinks=False)
    world = DiskFilesystem(str(tmp_path / "home"))
    with pytest.raises(UntrustedPathError):
        world.set_permissions("queue/trigger", own(0o622))
    seen = world.stat("queue/trigger")
    assert seen is not None
    assert seen.kind == PathKind.UNTRUSTED_LINK
    assert victim.stat().st_mode & 0o777 == 0o600


@pytest.mark.root
def test_root_follows_no_link_out_of_a_folder_that_another_account_owns(tmp_path: Path) -> None:
    folder = tmp_path / "home/queue"
    folder.mkdir(parents=True)
    (folder / "lock").symlink_to(tmp_path)
    os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    with pytest.raises(UntrustedPathError):
        DiskFilesystem(str(tmp_path / "home")).write("queue/lock/tcpto", b"", own(0o644))


def test_a_file_with_a_second_name_is_not_given_away(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("x")
    os.link(tmp_path / "one", tmp_path / "two")
    with pytest.raises(UntrustedPathError, match="has 2 names"):
        DiskFilesystem(str(tmp_path)).set_permissions("two", own(0o666))


@pytest.mark.root
def test_a_file_without_end_of_another_account_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    os.chown(tmp_path / "file", pwd.getpwnam("nobody").pw_uid, -1)
    assert DiskFilesystem(str(tmp_path)).read("file") == b"x"
    os.truncate(tmp_path / "file", 12 << 30)
    with pytest.raises(OSError, match="longer than 16777216 bytes"):
        DiskFilesystem(str(tmp_path)).read("file")


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        DiskFilesystem(str(tmp_path)).read("pipe")


def test_a_file_is_replaced_as_a_whole_and_no_rest_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old and longer")
    (tmp_path / ".file.new").write_text("left by a crash")
    DiskFilesystem(str(tmp_path)).write("file", b"new", own(0o640))
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["file"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(KeyError):
        DiskFilesystem(str(tmp_path)).write("file", b"new", Permissions("no-such-user", "no-such-group", 0o644))
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_one_command_at_a_time_works_on_an_installation(tmp_path: Path) -> None:
    lock = str(tmp_path / "lock")
    with locked(lock), pytest.raises(EqmailError, match="another eqmail command"), locked(lock):
        pass
    with locked(lock):
        pass


@pytest.mark.root
def test_an_untrusted_owner_is_named_with_the_path(tmp_path: Path) -> None:
    folder = tmp_path / "home/queue"
    folder.mkdir(parents=True)
    (folder / "lock").symlink_to(tmp_path)
    os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    with pytest.raises(UntrustedPathError) as refused:
        DiskFilesystem(str(tmp_path / "home")).read("queue/lock/tcpto")
    assert refused.value.filename == f"{tmp_path}/home/queue/lock/tcpto"


def test_a_secret_is_unreadable_for_others_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []

    def looked(fd: int, data: bytes) -> None:
        modes.append(os.fstat(fd).st_mode & 0o777)
        os.write(fd, data)

    monkeypatch.setattr(disk_world, "write_all", looked)
    DiskFilesystem(str(tmp_path)).write("secret", b"password", own(0o640))
    assert modes == [0o600]
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o640


def test_a_folder_and_a_pipe_have_mode_0_until_their_owner_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = {}

    def looked(self: DiskFilesystem, path: str, permissions: Permissions) -> None:
        modes[path] = (tmp_path / path).lstat().st_mode & 0o777

    monkeypatch.setattr(DiskFilesystem, "set_permissions", looked)
    world = DiskFilesystem(str(tmp_path))
    world.create("folder", PathKind.DIRECTORY, own(0o755))
    world.create("pipe", PathKind.FIFO, own(0o622))
    assert modes == {"folder": 0o700, "pipe": 0o600}


def test_read_link_returns_targets_of_links_only(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").symlink_to("folder")
    world = DiskFilesystem(str(tmp_path))
    found = {name: world.read_link(name) for name in ("link", "file", "folder", "other", "none", "", "none/none")}
    assert found == {
        "link": "file",
        "other": "folder",
        **dict.fromkeys(("file", "folder", "none", "", "none/none"), None),
    }
    with pytest.raises(NotADirectoryError):
        world.listdir("file")
    assert world.read_link("file/none") is None


@pytest.mark.parametrize(
    "change",
    [
        lambda filesystem: filesystem.read("a/missing"),
        lambda filesystem: filesystem.listdir("a/missing"),
        lambda filesystem: filesystem.create("a/full", PathKind.DIRECTORY, own(0o700)),
        lambda filesystem: filesystem.create("a/full", PathKind.FIFO, own(0o700)),
        lambda filesystem: filesystem.remove_directory("a/full"),
        lambda filesystem: filesystem.remove_file("a/full"),
        lambda filesystem: filesystem.write("a/full", b"", own(0o600)),
        lambda filesystem: filesystem.create_symlink("a/full", "target"),
        lambda filesystem: filesystem.back_up("a/missing"),
    ],
)
def test_an_error_names_the_whole_path(tmp_path: Path, change: Callable[[DiskFilesystem], object]) -> None:
    """The system gets the last part of a path only."""
    (tmp_path / "a/full/x").mkdir(parents=True)
    with pytest.raises(OSError) as caught:
        change(DiskFilesystem(str(tmp_path)))
    assert caught.value.filename in (f"{tmp_path}/a/missing", f"{tmp_path}/a/full")
