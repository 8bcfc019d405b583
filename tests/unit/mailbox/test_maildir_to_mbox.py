"""maildir2mbox: order, From_ lines, and failures that change nothing."""

import os
import resource
from pathlib import Path

import pytest

from eqmail_core.mailbox.maildir_reader import enter_maildir, messages_in, sweep_tmp
from eqmail_core.mailbox.maildir_to_mbox import move_to_mbox
from eqmail_core.outcome import TemporaryFailure

BORN = 1_000_000_000
NOW = BORN + 10.5


@pytest.fixture
def maildir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("tmp", "new", "cur"):
        (tmp_path / "md" / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "md")
    return tmp_path / "md"


def put(path: Path, text: bytes, born: int) -> None:
    path.write_bytes(text)
    os.utime(path, (born, born))


def test_messages_move_in_the_order_of_their_birth(maildir: Path) -> None:
    put(maildir / "new/b", b"Return-Path: <>\n\n>From x\nlast", BORN)
    put(maildir / "cur/a:2,S", b"Return-Path: <j e@x>\n\nFrom y\n", BORN + 5)
    put(maildir / "new/.hidden", b"x\n", BORN)
    put(maildir / "new/fresh", b"x\n", BORN + 10)
    mbox = maildir.parent / "mbox"
    mbox.write_bytes(b"From old\n\n")
    messages = messages_in((b"new", b"cur"), NOW)
    assert move_to_mbox(messages, bytes(mbox), bytes(mbox) + b".tmp") == []
    assert mbox.read_bytes() == (
        b"From old\n\n"
        b"From MAILER-DAEMON Sun Sep 09 01:46:40 2001\nReturn-Path: <>\n\n>>From x\nlast\n\n"
        b"From j-e@x Sun Sep 09 01:46:45 2001\nReturn-Path: <j e@x>\n\n>From y\n\n"
    )
    assert sorted(path.name for path in maildir.rglob("*") if path.is_file()) == [".hidden", "fresh"]


def test_messages_without_return_path_come_from_xxx(maildir: Path) -> None:
    put(maildir / "new/a", b"Return-path: <a@b>\n", BORN)
    put(maildir / "new/b", b"", BORN)
    mbox = maildir.parent / "mbox"
    move_to_mbox(messages_in((b"new",), NOW), bytes(mbox), bytes(mbox) + b".tmp")
    date = b"Sun Sep 09 01:46:40 2001\n"
    assert mbox.read_bytes() == b"From XXX " + date + b"Return-path: <a@b>\n\nFrom XXX " + date + b"\n"


def test_failures_change_nothing(maildir: Path) -> None:
    put(maildir / "new/a", b"x\n", BORN)
    mbox = maildir.parent / "mbox"
    mbox.write_bytes(b"old")
    messages = [*messages_in((b"new",), NOW), (BORN, b"new/vanished")]
    with pytest.raises(TemporaryFailure) as caught:
        move_to_mbox(messages, bytes(mbox), bytes(mbox) + b".tmp")
    assert caught.value.text == b"unable to read $MAILDIR/new/vanished: file does not exist"
    assert mbox.read_bytes() == b"old"
    assert (maildir / "new/a").exists()


def test_a_full_disk_changes_nothing_and_keeps_no_part(maildir: Path) -> None:
    put(maildir / "new/a", b"x" * 5000, BORN)
    mbox = maildir.parent / "mbox"
    mbox.write_bytes(b"From old\n\n")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(TemporaryFailure):
            move_to_mbox(messages_in((b"new", b"cur"), NOW), bytes(mbox), bytes(mbox) + b".tmp")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in maildir.parent.rglob("*") if path.is_file()) == ["a", "mbox"]
    assert mbox.read_bytes() == b"From old\n\n"


@pytest.mark.parametrize("target", ["/dev/zero", "."])
def test_what_is_no_file_is_not_copied(maildir: Path, target: str) -> None:
    (maildir / "new/a").symlink_to(target)
    with pytest.raises(TemporaryFailure, match=r"unable to read [$]MAILDIR/new/a: "):
        move_to_mbox([(BORN, b"new/a")], b"mbox", b"mbox.tmp")
    assert not Path("mbox").read_bytes() and not Path("mbox.tmp").exists()


def test_leftovers_in_tmp_are_swept_after_36_hours(maildir: Path) -> None:
    put(maildir / "tmp/old", b"", BORN - 129600)
    put(maildir / "tmp/young", b"", BORN + 60)
    sweep_tmp(BORN + 1)
    assert [path.name for path in (maildir / "tmp").iterdir()] == ["young"]


def test_a_maildir_must_be_named_and_be_one(tmp_path: Path) -> None:
    with pytest.raises(TemporaryFailure, match="MAILDIR not set"):
        enter_maildir({})
    with pytest.raises(TemporaryFailure, match="unable to chdir to /no/such: file does not exist"):
        enter_maildir({b"MAILDIR": b"/no/such"})
    with pytest.raises(TemporaryFailure, match=r"unable to scan .MAILDIR/nowhere: file does not exist"):
        messages_in((b"nowhere",), NOW)
