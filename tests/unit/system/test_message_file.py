"""Messages read by position."""

import os
from pathlib import Path

import pytest

from eqmail_core.system.files import CHUNK, read_all
from eqmail_core.system.message_file import MessageFile, MessageUnreadable


def opened(path: Path, data: bytes) -> int:
    path.write_bytes(data)
    return os.open(path, os.O_RDONLY)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_copies_are_whole_and_the_offset_stays(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    fd = opened(tmp_path / "m", data)
    os.lseek(fd, min(size, 7), os.SEEK_SET)
    message = MessageFile(fd)
    with open(tmp_path / "copy", "wb") as copy:
        message.copy_to(copy.fileno(), b"head")
    assert (tmp_path / "copy").read_bytes() == b"head" + data
    assert b"".join(message.chunks()) == data
    assert os.lseek(fd, 0, os.SEEK_CUR) == min(size, 7)
    own = message.reopen()
    assert read_all(own) == data
    os.close(own)
    os.close(fd)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"X: y\n\n", True),
        (b"A: b\nX: y\nC: d\n\n", True),
        (b"A: b\n\nX: y\n", False),
        (b"\nX: y\n\n", False),
        (b"X: y", False),
        (b" X: y\n\n", False),
        (b"X: y \n\n", False),
        (b"L: " + b"x" * (CHUNK - 6) + b"\nX: y\n\n", True),
        (b"L: " + b"x" * (CHUNK - 4) + b"\n\nX: y\n", False),
        (b"L: " + b"x" * (CHUNK - 3) + b"\n\nX: y\n", False),
        (b"L: " + b"x" * 2 * CHUNK + b"\nX: y\n\n", True),
    ],
)
def test_a_header_line_is_found_only_in_the_header(tmp_path: Path, header: bytes, found: bool) -> None:
    fd = opened(tmp_path / "m", header)
    assert MessageFile(fd).has_header_line(b"X: y\n") is found
    os.close(fd)


def test_a_pipe_is_no_message() -> None:
    reading, writing = os.pipe()
    with pytest.raises(MessageUnreadable):
        MessageFile(reading)
    os.close(reading)
    os.close(writing)
