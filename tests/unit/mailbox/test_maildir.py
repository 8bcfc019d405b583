"""Maildirs: nothing torn in new/, nothing left in tmp/."""

import os
import re
from pathlib import Path

import pytest

from eqmail_core.mailbox.maildir import Maildir, MaildirNames, deliver_to_maildir, own_names
from eqmail_core.outcome import TemporaryFailure
from eqmail_core.system.message_file import MessageFile


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    for name in ("tmp", "new", "cur"):
        (tmp_path / "m" / name).mkdir(parents=True)
    return tmp_path / "m"


@pytest.fixture
def message(tmp_path: Path) -> MessageFile:
    (tmp_path / "message").write_bytes(b"Subject: x\n\nbody")
    return MessageFile(os.open(tmp_path / "message", os.O_RDONLY))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_copy_has_the_head_the_message_and_a_compatible_name(maildir: Path, message: MessageFile) -> None:
    deliver_to_maildir(os.fsencode(maildir), b"Return-Path: <>\n", message)
    ((name, text),) = contents(maildir / "new").items()
    assert text == b"Return-Path: <>\nSubject: x\n\nbody"
    assert re.fullmatch(r"\d+\.[^/:]+\.[^/:]+", name)
    assert (maildir / "new" / name).stat().st_mode & 0o777 == 0o600
    assert not contents(maildir / "tmp")


def test_the_same_order_twice_is_one_message(maildir: Path, message: MessageFile) -> None:
    for head in (b"first\n", b"second\n"):
        deliver_to_maildir(os.fsencode(maildir), head, message, b"17.X1")
    ((name, text),) = contents(maildir / "new").items()
    assert name.startswith("17.X1.") and text.startswith(b"second\n")


def test_parts_of_one_delivery_stay_apart(maildir: Path, message: MessageFile) -> None:
    for part in (0, 1):
        deliver_to_maildir(os.fsencode(maildir), b"", message, b"17.X1", part)
    assert len(contents(maildir / "new")) == 2


def test_the_file_is_on_the_disk_before_it_has_its_name(
    maildir: Path, message: MessageFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []
    fsync, link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    monkeypatch.setattr(os, "link", lambda *names, **where: (events.append("link"), link(*names, **where)))
    deliver_to_maildir(os.fsencode(maildir), b"", message)
    assert len(events) == 3
    assert "/tmp/" in events[0] and events[1] == "link" and events[2].endswith("/new")


def test_failures_leave_no_files(maildir: Path, message: MessageFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "writev", no_space)
    with pytest.raises(TemporaryFailure, match="Temporary error on maildir delivery"):
        deliver_to_maildir(os.fsencode(maildir), b"", message)
    assert not contents(maildir / "tmp") and not contents(maildir / "new")


def test_a_missing_maildir_and_a_missing_folder_differ(tmp_path: Path) -> None:
    with pytest.raises(TemporaryFailure, match="Unable to chdir to maildir"):
        Maildir(os.fsencode(tmp_path / "none"))
    with pytest.raises(TemporaryFailure, match="Temporary error on maildir delivery"):
        Maildir(os.fsencode(tmp_path))


def test_names_are_fresh_and_host_names_harmless() -> None:
    unique_names = own_names()
    assert unique_names.new_name() != unique_names.new_name()
    assert MaildirNames("a/b:c", 1).new_name().endswith(b".a\\057b\\072c")


@pytest.mark.parametrize("name", [b"", b"../x", b".hidden", b"1.a:2,S"])
def test_unfit_names_are_not_used(name: bytes) -> None:
    assert own_names().name_for(name, 0) == b""
