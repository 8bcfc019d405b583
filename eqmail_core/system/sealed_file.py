"""A message in memory behind a descriptor that no process can change, not even its creator.

Source: memfd_create(2), fcntl(2) "file sealing".
"""

import fcntl
import os

_SEALS = 0
if hasattr(os, "memfd_create"):
    _SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def sealed_file(data: bytes, folder: str) -> int:
    """A descriptor that reads `data` from offset 0; the caller closes it.

    On a system without sealed memory it is a read-only file without a name, in `folder`.
    Fails: OSError.
    """
    if not _SEALS:
        return _nameless_file(data, folder)
    fd = os.memfd_create("message", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        written = os.write(fd, data)
        while written < len(data):
            written += os.write(fd, data[written:])
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(fd)
        raise
    return fd


def _nameless_file(data: bytes, folder: str) -> int:
    path = f"{folder}/sealed.{os.getpid()}"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o400)
    try:
        written = 0
        while written < len(data):
            written += os.write(fd, data[written:])
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(fd)
        os.unlink(path)
