"""What is read of the .qmail files of users, who may make anything of them."""

import os
from pathlib import Path

import pytest

from eqmail_core.local.delivery.home import MAX_BYTES, InstructionsTooLong, find_instructions
from eqmail_core.outcome import PermanentFailure

PATRN = 0o002


@pytest.fixture
def dot_qmail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".qmail"


def instructions(dash: bytes = b"") -> list[tuple[bytes, bytes]]:
    return find_instructions(dash, b"", b"./Mailbox", PATRN).instructions


def test_a_file_without_end_is_refused_unread(dot_qmail: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dot_qmail.touch()
    os.truncate(dot_qmail, 12 << 30)
    monkeypatch.setattr(os, "read", lambda _fd, _size: pytest.fail("it was read"))
    with pytest.raises(InstructionsTooLong, match=r"Uh-oh: .qmail is longer than 1048576 bytes\. \(#4\.2\.1\)"):
        instructions()


def test_a_file_that_grows_while_it_is_read_is_not_read_to_its_end(
    dot_qmail: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dot_qmail.touch()
    monkeypatch.setattr(os, "read", lambda _fd, size: b"#" * size)
    with pytest.raises(InstructionsTooLong):
        instructions()


def test_a_long_file_is_followed(dot_qmail: Path) -> None:
    dot_qmail.write_bytes(b"#" * (MAX_BYTES - 12) + b"\n./Maildir/\n")
    assert instructions() == [(b"maildir", b"./Maildir/")]
    dot_qmail.write_bytes(b"#" * MAX_BYTES + b"\n./Maildir/\n")
    with pytest.raises(InstructionsTooLong):
        instructions()


@pytest.mark.parametrize("target", ["/dev/zero", "/dev/full", "pipe", "."])
def test_a_special_file_counts_as_missing(dot_qmail: Path, target: str) -> None:
    os.mkfifo(dot_qmail.parent / "pipe")
    dot_qmail.symlink_to(target)
    assert instructions() == [(b"mbox", b"./Mailbox")]
    (dot_qmail.parent / ".qmail-default").symlink_to(target)
    with pytest.raises(PermanentFailure):
        instructions(b"-")
