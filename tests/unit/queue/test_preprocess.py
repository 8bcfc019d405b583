"""Messages become S5: order of operations, and what a failure leaves."""

import os
from pathlib import Path

import pytest

from eqmail_core.mail.message_identity import MessageIdentity
from eqmail_core.queue.files import QueueFileError, QueueFiles
from eqmail_core.queue.format.channels import CHANNELS, LOCAL, REMOTE
from eqmail_core.queue.format.send_log import LogLines
from eqmail_core.queue.format.todo import render_todo
from eqmail_core.queue.preprocess import Preprocessor, SpillFiles
from eqmail_core.queue.scan import NOTHING, QueueScan, numbers_in
from eqmail_core.site.layout import QueuePaths

BIRTH = 1_700_000_000


@pytest.fixture
def paths(tmp_path: Path) -> QueuePaths:
    it = QueuePaths(str(tmp_path / "queue"), 3, True)
    folders = [*it.info_dirs(), *it.mess_dirs(), *it.todo_dirs(), f"{it.root}/bounce"]
    for folder in (*folders, *(f"{it.root}/{name}/{part}" for name in CHANNELS for part in range(3))):
        os.makedirs(folder)
    return it


@pytest.fixture
def preparation(paths: QueuePaths) -> Preprocessor:
    return Preprocessor(QueueFiles(paths), LogLines())


def placement(number: int) -> SpillFiles:
    return SpillFiles(
        MessageIdentity(number, BIRTH), b"a@b", [(LOCAL, b"Dx@y\0Tz@y\0", BIRTH + 100)], b"<x@y>:\nno\n\n"
    )


def test_info_appears_last_and_only_when_the_rest_is_on_the_disk(
    paths: QueuePaths, preparation: Preprocessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    names: dict[int, str] = {}
    real_open, real_fsync, real_rename = os.open, os.fsync, os.rename

    def note_open(path: str, *rest: int) -> int:
        fd = real_open(path, *rest)
        names[fd] = os.path.relpath(path, paths.root)
        return fd

    def note_fsync(fd: int) -> None:
        events.append(f"flush {names[fd]}")
        real_fsync(fd)

    def note_rename(old: str, new: str) -> None:
        events.append(f"rename to {os.path.relpath(new, paths.root)}")
        real_rename(old, new)

    monkeypatch.setattr(os, "open", note_open)
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    assert preparation.place([placement(4), placement(7)]) == [None, None]
    rename = events.index("rename to info/1/4")
    assert {"flush local/1/4", "flush local/1/7", "flush bounce/4", "flush local/1", "flush bounce"} <= set(
        events[:rename]
    )
    assert events[rename - 1] == "flush info/1/4.tmp"
    assert events[-1] == "flush info/1"
    assert events.count("flush local/1") == 1, "a folder is flushed once for the group"


def test_a_preprocessed_message_is_an_ordinary_one(paths: QueuePaths, preparation: Preprocessor) -> None:
    Path(paths.channel("remote", 4)).write_bytes(b"Tgarbage@x\0")
    Path(paths.bounce(4)).write_bytes(b"garbage")
    assert preparation.place([placement(4)]) == [None]
    queue_files = preparation.files
    info = queue_files.info(4)
    assert (info.sender, info.identity.birth, info.dsn) == (b"a@b", BIRTH, None)
    assert queue_files.birth_of(4) == [(LOCAL, BIRTH + 100)]
    assert list(queue_files.recipients(4, LOCAL)) == [(0, 68, b"x@y"), (5, 84, b"z@y")]
    assert b"".join(queue_files.failures(4)) == b"<x@y>:\nno\n\n"


def test_a_message_that_cannot_be_preprocessed_does_not_stop_the_others(
    paths: QueuePaths, preparation: Preprocessor
) -> None:
    os.rmdir(f"{paths.root}/local/2")
    good, bad = preparation.place([placement(4), placement(5)])
    assert good is None
    assert bad is not None
    assert bad.text == b"unable to create local/2/5 (file does not exist)"
    assert preparation.files.birth_of(4) is not None
    assert preparation.files.birth_of(5) is None


def test_a_long_envelope_is_read_in_pieces(paths: QueuePaths, preparation: Preprocessor) -> None:
    recipients = [b"recipient-%06d@example.org" % number for number in range(10_000)]
    Path(paths.mess(4)).write_bytes(b"m")
    envelope = b"u1\0p2\0Fa@b\0" + b"".join(b"T%b\0" % recipient for recipient in recipients)
    Path(paths.todo(4)).write_bytes(envelope)
    lines: list[bytes] = []
    prepared = preparation.preprocess(4, lambda recipient: (int(recipient[15:16]) % 2, recipient), lines.append)
    channels = prepared.channels
    assert channels == [LOCAL, REMOTE]
    found = [[it[2] for it in preparation.files.recipients(4, channel)] for channel in (LOCAL, REMOTE)]
    assert found == [recipients[0::2], recipients[1::2]]
    assert lines == [b"new msg 4\n", b"info msg 4: bytes 1 from <a@b> qp 2 uid 1\n"]


@pytest.mark.parametrize(
    ("todo", "warning"),
    [
        (None, b"unable to open todo/1/4 (file does not exist)"),
        (b"u1\0p2\0Fa@b\0Zx\0", b"unknown record type in todo/1/4"),
        (b"u1\0p2\0Tx@y\0", b"no sender in todo/1/4"),
        (b"u1\0p2\0\0Fa@b\0", b"unknown record type in todo/1/4"),
    ],
)
def test_bad_envelopes_stay_in_todo(
    paths: QueuePaths, preparation: Preprocessor, todo: bytes | None, warning: bytes
) -> None:
    Path(paths.mess(4)).write_bytes(b"m")
    if todo is not None:
        Path(paths.todo(4)).write_bytes(todo)
    with pytest.raises(QueueFileError) as trouble:
        preparation.preprocess(4, lambda recipient: (LOCAL, recipient), lambda line: None)
    assert trouble.value.text == warning
    assert os.path.exists(paths.todo(4)) == (todo is not None)


def test_a_message_that_was_in_the_journal_keeps_its_birth(paths: QueuePaths, preparation: Preprocessor) -> None:
    """So a delivery from the journal and a later one from the files have one name, and one copy."""
    Path(paths.mess(4)).write_bytes(b"m")
    identity = MessageIdentity(4, 1_700_000_000, 123)
    Path(paths.todo(4)).write_bytes(render_todo(1, 2, b"Fa@b\0Tx@y\0", identity.born_text()))
    preparation.preprocess(4, lambda recipient: (LOCAL, recipient), lambda line: None)
    assert os.stat(paths.info(4)).st_mtime_ns == identity.born_ns
    assert Path(paths.info(4)).read_bytes() == b"Fa@b\0"


def test_removing_the_last_channel_is_reported(paths: QueuePaths, preparation: Preprocessor) -> None:
    queue_files = preparation.files
    Path(paths.info(4)).write_bytes(b"Fa@b\0")
    for name in CHANNELS:
        Path(paths.channel(name, 4)).write_bytes(b"Dx@y\0")
    assert not queue_files.is_finished(4)
    assert queue_files.finish_channel(4, LOCAL) is False
    assert queue_files.finish_channel(4, REMOTE) is True
    assert queue_files.is_finished(4)
    with pytest.raises(QueueFileError, match="unable to unlink remote/1/4; will try again later"):
        queue_files.finish_channel(4, REMOTE)


def test_a_failure_is_appended_wholly_or_not_at_all(
    paths: QueuePaths, preparation: Preprocessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue_files = preparation.files
    queue_files.add_failure(4, b"<x>:\nno\n\n")
    real_write = os.write
    calls = []

    def short_of_room(fd: int, data: bytes) -> int:
        calls.append(fd)
        if len(calls) == 1:
            return real_write(fd, bytes(data)[:3])
        raise OSError(28, "no room")

    monkeypatch.setattr(os, "write", short_of_room)
    with pytest.raises(QueueFileError):
        queue_files.add_failure(4, b"<y>:\nno\n\n")
    assert Path(paths.bounce(4)).read_bytes() == b"<x>:\nno\n\n"


def test_scans_pass_over_what_is_no_message(paths: QueuePaths) -> None:
    for name in ("4", "7", "7.tmp", "x", "٣"):
        Path(f"{paths.root}/info/1/{name}").touch()
    assert sorted(numbers_in(paths.info_dirs())) == [4, 7]


def test_a_scan_retries_a_folder_that_was_missing(paths: QueuePaths) -> None:
    Path(paths.info(4)).touch()
    os.rename(f"{paths.root}/info/1", f"{paths.root}/elsewhere")
    scan = QueueScan(paths.info_dirs())
    with pytest.raises(OSError, match="info/1"):
        while scan.step() is not None:
            pass
    os.rename(f"{paths.root}/elsewhere", f"{paths.root}/info/1")
    found = []
    while (number := scan.step()) is not None:
        found.append(number)
    assert [number for number in found if number != NOTHING] == [4]
