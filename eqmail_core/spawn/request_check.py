"""Checks an order of the scheduler: its recipient, and the descriptor of its message.

Source: queue.md 3.11 (spawn.c).
"""

import fcntl
import os
import stat

from eqmail_core.outcome import DeliveryResult
from eqmail_core.spawn.protocol import NO_HOST, NO_MESSAGE, WRONG_OWNER, WRONG_TYPE

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK


def rejection(recipient: bytes, fd: int, owner: int) -> DeliveryResult | None:
    """Return the result of a delivery that must not start; None for a message of `owner` that cannot be changed."""
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
    return None


def _is_sealed(fd: int) -> bool:
    """Tell whether a file without a name is a memfd that no process can change."""
    try:
        return fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS == _SEALS
    except OSError:
        return False
