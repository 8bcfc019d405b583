"""Quotas: read from maildirsize, kept there, recounted when it is long, or full and old; alone and with maildrop."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from eqmail_core.mailbox import maildirsize
from eqmail_core.mailbox.maildir import Maildir, deliver_to_maildir, own_names
from eqmail_core.mailbox.maildir_quota import FULL, OLD_S, CountIsDue
from eqmail_core.outcome import PermanentFailure, TemporaryFailure
from eqmail_core.system.message_file import MessageFile
from tests.support.mail_system import make_maildir


@pytest.fixture
def box(tmp_path: Path) -> Path:
    return make_maildir(tmp_path / "Maildir")


def deliver(box: Path, size: int = 100, name: bytes = b"") -> None:
    fd = os.memfd_create("message")
    try:
        os.write(fd, b"x" * (size - 2))
        deliver_to_maildir(os.fsencode(f"{box}/"), b"H\n", MessageFile(fd), name)
    finally:
        os.close(fd)


def names(box: Path) -> list[str]:
    return sorted(path.name for path in (box / "new").iterdir())


def age(box: Path) -> None:
    then = time.time() - OLD_S - 5
    os.utime(box / "maildirsize", (then, then))


def test_without_the_file_there_is_no_quota_and_names_hold_no_size(box: Path) -> None:
    deliver(box)
    assert not (box / "maildirsize").exists() and ",S=" not in names(box)[0]


def test_every_message_is_recorded_and_its_name_holds_its_size(box: Path) -> None:
    (box / "maildirsize").write_text("1000S,3C\n")
    for _ in range(3):
        deliver(box)
    assert (box / "maildirsize").read_text() == "1000S,3C\n" + "100 1\n" * 3
    assert all(name.endswith(",S=100") for name in names(box))
    with pytest.raises(PermanentFailure, match="over its quota"):
        deliver(box)
    assert len(names(box)) == 3 and not list((box / "tmp").iterdir())


def test_a_message_delivered_again_keeps_its_name(box: Path) -> None:
    (box / "maildirsize").write_text("1000S\n")
    for _ in range(2):
        deliver(box, name=b"5.Q1")
    assert len(names(box)) == 1


@pytest.mark.parametrize(("quota", "fits"), [("99S", False), ("100S", True), ("0S", True), ("nonsense", True)])
def test_the_quota_is_for_what_is_filed(box: Path, quota: str, fits: bool) -> None:
    """Return-Path and Delivered-To included."""
    (box / "maildirsize").write_text(quota + "\n")
    if fits:
        deliver(box)
    else:
        with pytest.raises(PermanentFailure):
            deliver(box)


def test_a_recent_full_maildirsize_is_believed(box: Path) -> None:
    (box / "maildirsize").write_text("1000S\n950 9\n")
    with pytest.raises(PermanentFailure):
        deliver(box)
    age(box)
    deliver(box)
    assert (box / "maildirsize").read_text() == "1000S\n0 0\n100 1\n"


def test_what_is_counted(box: Path) -> None:
    """Messages of all folders, by name or by size; neither what is in the trash nor what is marked for it."""
    for folder in (".Work", ".Trash", ".Work.Old"):
        make_maildir(box / folder)
    (box / "notmail").mkdir()
    for path, size in (
        ("cur/1.a,S=70:2,S", 7),
        ("cur/2.a:2,", 20),
        ("cur/3.a,S=500:2,ST", 5),
        ("new/.hidden", 5),
        (".Work/new/4.a", 3),
        (".Work.Old/cur/5.a,S=6", 0),
        (".Trash/cur/6.a,S=400:2,S", 5),
        ("tmp/7.a", 9),
    ):
        (box / path).write_bytes(b"x" * size)
    (box / "maildirsize").write_text("300S,9C\n300 9\n")
    age(box)
    deliver(box)
    assert (box / "maildirsize").read_text() == "300S,9C\n99 4\n100 1\n"


def test_a_long_file_is_counted_anew_and_keeps_its_mode(box: Path) -> None:
    (box / "maildirsize").write_text("5000S\n" + "1 1\n" * 1300)
    (box / "maildirsize").chmod(0o640)
    deliver(box)
    assert (box / "maildirsize").read_text() == "5000S\n0 0\n100 1\n"
    assert (box / "maildirsize").stat().st_mode & 0o777 == 0o640
    assert not list((box / "tmp").iterdir())


def test_a_folder_has_the_quota_of_its_maildir(box: Path) -> None:
    (box / "maildirsize").write_text("150S\n")
    folder = make_maildir(box / ".Work")
    deliver(folder)
    assert ",S=" not in names(folder)[0], "only with a file maildirfolder it is one"
    (folder / "maildirfolder").touch()
    deliver(folder)
    with pytest.raises(PermanentFailure):
        deliver(folder)
    trash = make_maildir(box / ".Trash")
    (trash / "maildirfolder").touch()
    deliver(trash)
    assert (box / "maildirsize").read_text() == "150S\n100 1\n"


def test_the_messages_of_one_group_share_what_is_left(box: Path) -> None:
    (box / "maildirsize").write_text("250S\n")
    maildir, unique_names = Maildir(os.fsencode(f"{box}/")), own_names()
    fd = os.memfd_create("message")
    os.write(fd, b"x" * 98)
    copies = [maildir.write(unique_names, b"", b"H\n", MessageFile(fd)) for _ in range(2)]
    with pytest.raises(PermanentFailure) as raised:
        maildir.write(unique_names, b"", b"H\n", MessageFile(fd))
    assert raised.value.text == FULL
    for copy in copies:
        copy.publish()
    maildir.close()
    os.close(fd)
    assert (box / "maildirsize").read_text() == "250S\n100 1\n100 1\n"


def test_a_quota_that_cannot_be_read_leaves_the_mail_waiting(box: Path) -> None:
    (box / "maildirsize").mkdir()
    with pytest.raises(TemporaryFailure, match="Unable to open maildirsize: is a directory"):
        deliver(box)
    (box / "maildirsize").rmdir()
    os.mkfifo(box / "maildirsize")
    with pytest.raises(TemporaryFailure, match="maildirsize: it is no regular file"):
        deliver(box)


def test_a_quota_that_is_no_file_or_has_no_end_is_not_read_to_its_end(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    read = os.read

    def counted(fd: int, size: int) -> bytes:
        taken.append(size)
        return read(fd, size)

    monkeypatch.setattr(os, "read", counted)
    (box / "maildirsize").symlink_to("/dev/zero")
    with pytest.raises(TemporaryFailure, match="maildirsize: it is no regular file"):
        deliver(box)
    assert not taken
    (box / "maildirsize").unlink()
    (box / "maildirsize").write_text("1000S,3C\n")
    os.truncate(box / "maildirsize", 12 << 30)
    deliver(box)
    assert sum(taken) <= 4 * maildirsize.READ_BYTES
    assert (box / "maildirsize").read_text() == "1000S,3C\n0 0\n100 1\n"


def test_a_shared_process_does_not_count_the_quota(box: Path) -> None:
    (box / "maildirsize").write_text("1000S\n" + "1 1\n" * maildirsize.MAX_BYTES)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(CountIsDue):
        Maildir(os.fsencode(f"{box}/"), may_count=False)
    (box / "maildirsize").write_text("1000S\n1000 1\n")
    age(box)
    maildir = Maildir(os.fsencode(f"{box}/"), may_count=False)
    fd = os.memfd_create("message")
    with pytest.raises(CountIsDue):
        maildir.write(own_names(), b"", b"H\n", MessageFile(fd))
    os.close(fd)
    maildir.close()
    assert os.listdir("/proc/self/fd") == before


def test_no_descriptor_is_left_open(box: Path) -> None:
    (box / "maildirsize").write_text("1000S\n")
    before = os.listdir("/proc/self/fd")
    deliver(box)
    age(box)
    for _ in range(2):
        with pytest.raises(PermanentFailure):
            deliver(box, 2000)
    assert os.listdir("/proc/self/fd") == before


def test_maildrop_and_we_agree_on_the_quota(tmp_path: Path) -> None:
    """maildrop's tools and we keep the same file, and refuse at the same point."""
    box = tmp_path / "Shared"
    for options in ([], ["-q", "5000S,6C"]):
        subprocess.run(["maildirmake.maildrop", *options, str(box)], check=True)

    def deliver_by_maildrop() -> int:
        return subprocess.run(["deliverquota.maildrop", str(box)], input=b"x" * 100, check=False).returncode

    for _ in range(3):
        deliver(box)
        assert deliver_by_maildrop() == 0
    assert deliver_by_maildrop() == 77
    with pytest.raises(PermanentFailure):
        deliver(box)
    assert len(names(box)) == 6 and all(name.endswith(",S=100") for name in names(box))
