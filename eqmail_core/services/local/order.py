"""An order of the scheduler as the spawner holds it, and why one must not be carried out."""

import fcntl
import os
import stat

from eqmail_core.protocols import delivery_wire
from eqmail_core.services.local.line import Line
from eqmail_core.values.outcome import EXPANDED, FLEETING, TAKEN_OVER

NO_MESSAGE = b"Zqmail-spawn unable to open message. (#4.3.0)\n"
WRONG_TYPE = b"ZSorry, message has wrong type. (#4.3.5)\n"
WRONG_OWNER = b"ZSorry, message has wrong owner. (#4.3.5)\n"
NO_HOST = b"DSorry, address must include host name. (#5.1.3)\n"

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK


class Order:
    """An order that was taken: the line and the serial it came with, and until it is given away its message."""

    __slots__ = ("fd", "host", "line", "local", "name", "sender", "serial", "wishes")

    def __init__(self, line: Line, it: delivery_wire.Order, fd: int) -> None:
        self.line = line
        self.serial = it.serial
        self.name = it.name
        self.sender = it.sender
        self.wishes = it.wishes
        self.local, _, self.host = it.recipient.rpartition(b"@")
        self.fd = fd

    def report(self, letter: bytes, text: bytes, fate: bytes) -> None:
        """Tell the scheduler what has become of it; `fate` as in `values.outcome`."""
        durable, takes_over, expanded = fate != FLEETING, fate == TAKEN_OVER, fate == EXPANDED
        self.line.send(delivery_wire.report(self.serial, durable, letter, text, takes_over, expanded))

    def drop_message(self) -> None:
        """Close the message of an order that nobody gets."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def objection(recipient: bytes, fd: int, owner: int) -> bytes:
    """Why a message must not be delivered; b"" if it is the queue's, `owner`'s, and nobody can change it any more."""
    if b"@" not in recipient:
        return NO_HOST
    if fd < 0:
        return NO_MESSAGE
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        return WRONG_TYPE
    if status.st_uid != owner:
        return WRONG_OWNER
    if status.st_nlink == 0 and not _is_sealed(fd):
        return WRONG_TYPE
    return b""


def _is_sealed(fd: int) -> bool:
    """Tell whether a file without a name is a memfd that nobody can alter."""
    try:
        return fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS == _SEALS
    except OSError:
        return False
