"""Decides whether mess/N is the message of info/N.

Numbers are inode numbers, and the system reuses them.

The name info/N is created when mess/N is complete. So a mess/N written later than info/N was made is another message,
unless the clock was set back in between; then info/N has a mark (`confirm_match`). Where numbers are not inode numbers,
as in a queue that was copied as files, times prove nothing.

Fails: QueueFileError.
"""

import os

from eqmail_core.queue.files import LIST_MODE, QueueFileError, QueueFiles
from eqmail_core.queue.format.tree import OLDER_CLOCK, WARNED

FITS, MISSING, FOREIGN, NO_INFO = range(4)
"""mess/N is the message of info/N; is missing; is younger, so another with that number; or there is no info/N."""


def message_state(files: QueueFiles, number: int) -> int:
    """Return the state of mess/N relative to info/N: FITS, MISSING, FOREIGN or NO_INFO."""
    info = files.stat(files.paths.info(number))
    if info is None:
        return NO_INFO
    mess = files.stat(files.paths.mess(number))
    if mess is None:
        return MISSING
    is_other = mess.st_ino == number and _looks_older(info, mess) and not info.st_mode & OLDER_CLOCK
    return FOREIGN if is_other else FITS


def confirm_match(files: QueueFiles, number: int) -> None:
    """Mark that info/N and mess/N belong together where their times do not show it."""
    path = files.paths.info(number)
    info, mess = files.stat(path), files.stat(files.paths.mess(number))
    if info is not None and mess is not None and _looks_older(info, mess):
        try:
            os.chmod(path, info.st_mode & WARNED | LIST_MODE | OLDER_CLOCK)
        except OSError as error:
            raise QueueFileError(b"unable to chmod " + files.short(path)) from error


def _looks_older(info: os.stat_result, mess: os.stat_result) -> bool:
    return mess.st_mtime_ns > info.st_ctime_ns
