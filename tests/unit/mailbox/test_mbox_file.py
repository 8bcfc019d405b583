"""Mailbox files: locked, whole or untouched."""

import fcntl
import os
from pathlib import Path

import pytest

from eqmail_core.mailbox.mbox_file import append_to_mailbox
from eqmail_core.outcome import TemporaryFailure
from eqmail_core.system.message_file import MessageFile


@pytest.fixture
def message(tmp_path: Path) -> MessageFile:
    (tmp_path / "message").write_bytes(b"Subject: x\n\nFrom here")
    return MessageFile(os.open(tmp_path / "message", os.O_RDONLY))


def test_messages_are_appended_and_quoted(tmp_path: Path, message: MessageFile) -> None:
    box = tmp_path / "box"
    for _ in range(2):
        append_to_mailbox(os.fsencode(box), b"From s\n", message)
    assert box.read_bytes() == b"From s\nSubject: x\n\n>From here\n\n" * 2
    assert box.stat().st_mode & 0o777 == 0o600


def test_a_locked_mailbox_is_not_touched(tmp_path: Path, message: MessageFile) -> None:
    box = tmp_path / "box"
    with open(box, "wb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(TemporaryFailure, match="File has been locked for 30 seconds straight"):
            append_to_mailbox(os.fsencode(box), b"From s\n", message, timeout_s=0.01)
    assert box.read_bytes() == b""


def test_a_failed_write_is_undone(tmp_path: Path, message: MessageFile, monkeypatch: pytest.MonkeyPatch) -> None:
    box = tmp_path / "box"
    box.write_bytes(b"old\n")

    def no_space(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(TemporaryFailure, match=r"Unable to write .*: out of disk space\. \(#4\.3\.0\)"):
        append_to_mailbox(os.fsencode(box), b"From s\n", message)
    assert box.read_bytes() == b"old\n"


def test_a_folder_is_no_mailbox(tmp_path: Path, message: MessageFile) -> None:
    with pytest.raises(TemporaryFailure, match=r"Unable to open .*: is a directory\. \(#4\.2\.1\)"):
        append_to_mailbox(os.fsencode(tmp_path), b"", message)
