"""A message behind a shared descriptor: read by position, copied by the kernel, in pieces.

The offset of the descriptor may be shared with other processes and stays unchanged.

Fails: MessageUnreadable when the message itself cannot be read; OSError always concerns the other side.
"""

import os

from eqmail_core.system.files import CHUNK, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SENDFILE = 1 << 30


class MessageUnreadable(Exception):
    """The message could not be read; it may be readable later."""


class MessageFile:
    """A message that can be read any number of times; the caller keeps the descriptor.

    The offset of the descriptor stays unchanged.  `head` is the first piece, at most CHUNK bytes, read once.
    """

    __slots__ = ("fd", "head")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.head = self._read(0)

    def size(self) -> int:
        """The size in bytes.  Fails: MessageUnreadable."""
        try:
            return os.fstat(self.fd).st_size
        except OSError as error:
            raise MessageUnreadable(error.strerror) from error

    def chunks(self) -> "Iterator[bytes]":
        """The message from its beginning, in pieces of at most CHUNK bytes."""
        chunk, position = self.head, 0
        while chunk:
            yield chunk
            position += len(chunk)
            chunk = self._read(position)

    def has_header_line(self, line: bytes) -> bool:
        """Tell whether the header contains `line`, which ends in a newline and has no other."""
        wanted = b"\n" + line
        before = b"\n"
        for chunk in self.chunks():
            window = before + chunk
            end = window.find(b"\n\n")
            if end >= 0:
                return window.find(wanted, 0, end + 1) >= 0
            if wanted in window:
                return True
            before = window[-len(line) :]
        return False

    def copy_to(self, fd: int, prefix: bytes) -> None:
        """Write `prefix` and the message to a file."""
        head = self.head
        written = os.writev(fd, (prefix, head))
        if written != len(prefix) + len(head):
            write_all(fd, (prefix + head)[written:])
        if len(head) == CHUNK:
            self._copy_rest(fd, CHUNK)

    def reopen(self) -> int:
        """Open the same message with a separate offset, at the beginning; the caller closes it."""
        try:
            return os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            copy = os.memfd_create("message")
            self.copy_to(copy, b"")
            os.lseek(copy, 0, os.SEEK_SET)
            return copy

    def _read(self, position: int) -> bytes:
        try:
            return os.pread(self.fd, CHUNK, position)
        except OSError as error:
            raise MessageUnreadable(error.strerror) from error

    def _copy_rest(self, fd: int, position: int) -> None:
        try:
            while sent := os.sendfile(fd, self.fd, position, _SENDFILE):
                position += sent
        except OSError:
            # A copy by read and write shows which side failed; what was sent is in place.
            while chunk := self._read(position):
                write_all(fd, chunk)
                position += len(chunk)
