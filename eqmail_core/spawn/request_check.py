"""Checks an order of the scheduler: its recipient, and the descriptor of its message.

Source: queue.md 3.11 (spawn.c).
"""

import fcntl
import os
import stat

NO_MESSAGE = b"Zqmail-spawn unable to open message. (#4.3.0)\n"
WRONG_TYPE = b"ZSorry, message has wrong type. (#4.3.5)\n"
WRONG_OWNER = b"ZSorry, message has wrong owner. (#4.3.5)\n"
NO_HOST = b"DSorry, address must include host name. (#5.1.3)\n"

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK


def rejection_reason(recipient: bytes, fd: int, owner: int) -> bytes:
    """Why a message must not be delivered; b"" if it belongs to `owner` and cannot be changed."""
    if b"@" not in recipient:
        return NO_HOST
    try:
        status = os.fstat(fd)
    except OSError:
        return NO_MESSAGE
    if not stat.S_ISREG(status.st_mode):
        return WRONG_TYPE
    if status.st_uid != owner:
        return WRONG_OWNER
    if status.st_nlink == 0 and not _is_sealed(fd):
        return WRONG_TYPE
    return b""


def _is_sealed(fd: int) -> bool:
    """Tell whether a file without a name is a memfd that no process can change."""
    try:
        return fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS == _SEALS
    except OSError:
        return False
