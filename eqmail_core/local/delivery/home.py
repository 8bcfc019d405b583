"""A user's home: whether delivery is possible, and which instructions apply to an address.

Every delivery reads the disk anew, so a change of a user's files takes effect at once.

Fails: TemporaryFailure and PermanentFailure, with the report text.
Source: dot-qmail(5); qmail-local.c checkhome, qmesearch.
"""

import errno
import os
import stat

from eqmail_core.local.delivery import dotqmail
from eqmail_core.local.delivery.request import LocalDelivery, candidates, has_owner, owner_files, owner_sender
from eqmail_core.outcome import PermanentFailure, TemporaryFailure
from eqmail_core.system.files import open_regular, read_upto
from eqmail_core.text.error_text import error_text, is_temporary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.local.delivery.dotqmail import Instruction

STICKY = b"Home directory is sticky: user is editing his .qmail file. (#4.2.1)"

MAX_BYTES = 1 << 20
"""Maximum size of a .qmail file, in bytes."""

_TOO_LONG = b"Uh-oh: %b is longer than %d bytes. (#4.2.1)"

_REFUSED = (errno.EPERM, errno.EACCES)


class InstructionsTooLong(TemporaryFailure):
    """A .qmail file is longer than the caller's limit."""


class Instructions:
    """The instructions of a user for one address.

    `default_at` is where DEFAULT begins in the extension, or -1.  `file` is the .qmail file, b"" if there is none.
    """

    __slots__ = ("default_at", "file", "instructions")

    def __init__(self, instructions: "list[Instruction]", default_at: int, file: bytes = b"") -> None:
        self.instructions = instructions
        self.default_at = default_at
        self.file = file


def enter_home(home: bytes, patrn: int) -> bool:
    """Make `home` the working directory; True if the sticky bit defers deliveries.

    Fails: TemporaryFailure when it does not exist, or others may write to it.
    """
    try:
        os.chdir(home)
    except OSError as error:
        raise TemporaryFailure(b"Unable to switch to %b: %b. (#4.3.0)" % (home, error_text(error.errno))) from error
    try:
        mode = os.stat(".").st_mode
    except OSError as error:
        raise TemporaryFailure(b"Unable to stat home directory: %b. (#4.3.0)" % error_text(error.errno)) from error
    if mode & patrn:
        raise TemporaryFailure(b"Uh-oh: home directory is writable. (#4.7.0)")
    return bool(mode & stat.S_ISVTX)


def find_instructions(
    dash: bytes, ext: bytes, default: bytes, patrn: int, limit_bytes: int = MAX_BYTES
) -> Instructions:
    """Find the instructions for an extension: the best .qmail file here, else `default`.

    Fails: PermanentFailure when the user has no such address; TemporaryFailure when a file cannot be read or trusted;
    InstructionsTooLong when it has more than `limit_bytes`.
    """
    for name, default_at in candidates(dash, ext):
        found = _read_instructions(name, patrn, limit_bytes)
        if found is not None:
            text, forward_only = found
            instructions = dotqmail.parse(text, forward_only) if text else dotqmail.parse(default)
            return Instructions(instructions, default_at, name)
    if dash:
        raise PermanentFailure(b"Sorry, no mailbox here by that name. (#5.1.1)")
    return Instructions(dotqmail.parse(default), -1)


def check_deliverable(
    home: bytes, dash: bytes, ext: bytes, default: bytes, patrn: int, limit_bytes: int = MAX_BYTES
) -> None:
    """Enter a home and check, without side effects, that mail for an extension is deliverable.

    Fails: PermanentFailure when the user has no such address; TemporaryFailure when a delivery would be deferred;
    InstructionsTooLong as `find_instructions`.
    """
    if enter_home(home, patrn):
        raise TemporaryFailure(STICKY)
    for kind, why in find_instructions(dash, ext, default, patrn, limit_bytes).instructions:
        if kind == dotqmail.REFUSED:
            raise TemporaryFailure(why)


def find_new_sender(delivery: LocalDelivery) -> bytes:
    """The envelope sender of forwards: the owner of the list if it has one.

    Fails: TemporaryFailure.
    """
    if not has_owner(delivery.sender):
        return delivery.sender
    owner, owner_default = owner_files(delivery.dash, delivery.ext)
    if not _exists(owner):
        return delivery.sender
    return owner_sender(delivery.local, delivery.host, _exists(owner_default))


def _read_instructions(name: bytes, patrn: int, limit_bytes: int) -> tuple[bytes, bool] | None:
    """Text and forward-only bit of a .qmail file; None if there is no such regular file."""
    try:
        fd = open_regular(name)
    except FileNotFoundError:
        return None
    except OSError as error:
        if is_temporary(error) or error.errno in _REFUSED:
            raise _cannot_open(name, error) from error
        return None
    if fd is None:
        return None
    try:
        found = os.fstat(fd)
        if found.st_mode & patrn:
            raise TemporaryFailure(b"Uh-oh: .qmail file is writable. (#4.7.0)")
        # Checks the size first, so that a file that is too long is not read; then the bytes that were read.
        text = read_upto(fd, limit_bytes + 1) if found.st_size <= limit_bytes else b""
        if max(len(text), found.st_size) > limit_bytes:
            raise InstructionsTooLong(_TOO_LONG % (name, limit_bytes))
        return text, bool(found.st_mode & stat.S_IXUSR)
    except OSError as error:
        raise _cannot_open(name, error) from error
    finally:
        os.close(fd)


def _exists(name: bytes) -> bool:
    try:
        os.stat(name)
    except OSError as error:
        if is_temporary(error):
            raise _cannot_open(name, error) from error
        return False
    return True


def _cannot_open(name: bytes, error: OSError) -> TemporaryFailure:
    return TemporaryFailure(b"Unable to open %b: %b. (#4.3.0)" % (name, error_text(error.errno)))
