"""A buffer of bytes: in memory while small, in a file without a name when large.

Source: open(2) "O_TMPFILE".
"""

import os

from eqmail_core.system.files import CHUNK, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FEW = 65536
_FOLDERS = ("/var/tmp", "/tmp")


class SpooledBuffer:
    """Collects bytes with `append` and returns them with `pieces`; `size` is their number.

    Fails: OSError when the system has no space; then `close`.
    """

    __slots__ = ("_fd", "_held", "size")

    def __init__(self) -> None:
        self._fd = -1
        self._held: list[bytes] = []
        self.size = 0

    def append(self, data: bytes) -> None:
        """Append these bytes."""
        self.size += len(data)
        if self._fd >= 0:
            write_all(self._fd, data)
            return
        self._held.append(data)
        if self.size > _FEW:
            self._fd = _nameless_file()
            held, self._held = self._held, []
            write_all(self._fd, b"".join(held))

    def pieces(self, start: int = 0) -> "Iterator[bytes]":
        """The content from `start` on, in pieces of at most 64 KiB."""
        if self._fd < 0:
            text = b"".join(self._held)[start:]
            if text:
                yield text
            return
        while piece := os.pread(self._fd, CHUNK, start):
            start += len(piece)
            yield piece

    def beginning(self, at_most: int) -> bytes:
        """The first bytes, at most `at_most`."""
        if self._fd < 0:
            return b"".join(self._held)[:at_most]
        text = b""
        while len(text) < at_most and (piece := os.pread(self._fd, at_most - len(text), len(text))):
            text += piece
        return text

    def close(self) -> None:
        """Discard the content."""
        self._held = []
        self.size = 0
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _nameless_file() -> int:
    """A file that vanishes with its descriptor, on a disk if possible."""
    folders = [folder for folder in (os.environ.get("TMPDIR"), *_FOLDERS) if folder]
    for folder in folders[:-1]:
        try:
            return _open_in(folder)
        except OSError:
            continue
    return _open_in(folders[-1])


def _open_in(folder: str) -> int:
    if flag := getattr(os, "O_TMPFILE", 0):
        try:
            return os.open(folder, os.O_RDWR | flag | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError:
            pass  # this file system does not support it
    path = f"{folder}/eqmail.{os.getpid()}.{os.urandom(8).hex()}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return fd
