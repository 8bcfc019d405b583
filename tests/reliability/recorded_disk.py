"""python -m tests.reliability.recorded_disk IMAGE RECORD FILE: show IMAGE as FILE, and record what is written there.

FILE, which must exist, becomes a FUSE file system with one file and no cache.  A loop device on it passes on every
write and every flush of the file system above, in order, from below the page cache.  Ends when FILE is unmounted.

RECORD gets for each of them: seconds (time.monotonic) when it was done, kind, offset, length; then the bytes written.
"""

import ctypes
import errno
import os
import signal
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import NamedTuple

WRITE, FLUSH = 0, 1

_ENTRY = struct.Struct("<dQQQ")
_MOST_BYTES = 1 << 20
_ROOT_MODE = stat.S_IFREG | 0o600

# The protocol of /dev/fuse, see linux/fuse.h: requests, replies, and the operations that a single file needs.
_REQUEST = struct.Struct("<IIQQIIIHH")
_REPLY = struct.Struct("<IiQ")
_READ_OR_WRITE = struct.Struct("<QQII")
_INIT_IN = struct.Struct("<II")
_INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")
_ATTRIBUTES = struct.Struct("<QI4xQQQQQQIIIIIIIIII")
_OPEN_OUT = struct.Struct("<QII")
_WRITE_OUT = struct.Struct("<II")
_FORGET, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _RELEASE, _FSYNC = 2, 3, 4, 14, 15, 16, 18, 20
_FLUSH_FILE, _INIT, _INTERRUPT, _DESTROY, _BATCH_FORGET = 25, 26, 36, 38, 42
_UNANSWERED = (_FORGET, _INTERRUPT, _BATCH_FORGET)
_BIG_WRITES, _MAX_PAGES = 1 << 5, 1 << 22
_MINOR = 31
_DIRECT_IO = 1
_PR_SET_PDEATHSIG = 1


class Entry(NamedTuple):
    """One line of a record; `place` is where the written bytes stand in it."""

    time: float
    kind: int
    offset: int
    length: int
    place: int


def read_record(path: Path) -> Iterator[Entry]:
    """All entries, in order."""
    with open(path, "rb") as file:
        while len(head := file.read(_ENTRY.size)) == _ENTRY.size:
            time, kind, offset, length = _ENTRY.unpack(head)
            yield Entry(time, kind, offset, length, file.tell())
            if kind == WRITE:
                file.seek(length, os.SEEK_CUR)


class RecordedDisk:
    """The file system: answers what the kernel asks until it is unmounted."""

    def __init__(self, image: Path, record: Path, file: Path) -> None:
        self._image = os.open(image, os.O_RDWR)
        self._size = os.fstat(self._image).st_size
        self._record = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._fuse = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self._fuse},rootmode={_ROOT_MODE:o},user_id=0,group_id=0,allow_other"
        library = ctypes.CDLL(None, use_errno=True)
        if library.mount(b"recorded", os.fsencode(file), b"fuse", 0, options.encode()):
            raise OSError(ctypes.get_errno(), f"cannot mount at {file}")
        self._answers: dict[int, Callable[[memoryview], bytes]] = {
            _INIT: self._begin,
            _GETATTR: self._attributes,
            _SETATTR: self._attributes,
            _OPEN: lambda _: _OPEN_OUT.pack(0, _DIRECT_IO, 0),
            _READ: self._read,
            _WRITE: self._write,
            _FSYNC: self._flush,
            _FLUSH_FILE: lambda _: b"",
            _RELEASE: lambda _: b"",
            _DESTROY: lambda _: b"",
        }

    def serve(self) -> None:
        """Answer until the end."""
        while True:
            try:
                request = memoryview(os.read(self._fuse, _MOST_BYTES + 4096))
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue
                raise
            _, operation, unique, *_ = _REQUEST.unpack_from(request)
            if operation in _UNANSWERED:
                continue
            answer = self._answers.get(operation)
            code, text = -errno.ENOSYS, b""
            if answer is not None:
                try:
                    code, text = 0, answer(request[_REQUEST.size :])
                except OSError as error:
                    code = -(error.errno or errno.EIO)
            try:
                os.writev(self._fuse, [_REPLY.pack(_REPLY.size + len(text), code, unique), text])
            except FileNotFoundError:
                continue  # the request was given up meanwhile

    def _begin(self, body: memoryview) -> bytes:
        major, _ = _INIT_IN.unpack_from(body)
        flags = _BIG_WRITES | _MAX_PAGES
        return _INIT_OUT.pack(major, _MINOR, 0, flags, 0, 0, _MOST_BYTES, 1, _MOST_BYTES // 4096, 0, 0)

    def _attributes(self, _: memoryview) -> bytes:
        blocks = self._size // 512
        return _ATTRIBUTES.pack(3600, 0, 1, self._size, blocks, 0, 0, 0, 0, 0, 0, _ROOT_MODE, 1, 0, 0, 0, 4096, 0)

    def _read(self, body: memoryview) -> bytes:
        _, offset, size, _ = _READ_OR_WRITE.unpack_from(body)
        return os.pread(self._image, size, offset)

    def _write(self, body: memoryview) -> bytes:
        _, offset, size, _ = _READ_OR_WRITE.unpack_from(body)
        data = body[len(body) - size :]
        os.pwrite(self._image, data, offset)
        os.writev(self._record, [_ENTRY.pack(monotonic(), WRITE, offset, size), data])
        return _WRITE_OUT.pack(size, 0)

    def _flush(self, _: memoryview) -> bytes:
        os.write(self._record, _ENTRY.pack(monotonic(), FLUSH, 0, 0))
        return b""


def main() -> None:
    """Serve; end with the process that started this one."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    image, record, file = map(Path, sys.argv[1:])
    disk = RecordedDisk(image, record, file)
    print("ready", flush=True)
    disk.serve()


if __name__ == "__main__":
    main()
