"""Reads a Maildir as its owner: lists the messages by age, and removes old files from tmp/.

Works on the Maildir that is the current folder.
Fails: TemporaryFailure, with the text for the log.
Source: delivery.md 5.9 (maildir.c); maildir(5).
"""

import os

from eqmail_core.outcome import TemporaryFailure
from eqmail_core.text.error_text import error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_ABANDONED_S = 129600


def enter_maildir(environ: "Mapping[bytes, bytes]") -> None:
    """Make the Maildir that MAILDIR names the current folder."""
    maildir = environ.get(b"MAILDIR")
    if maildir is None:
        raise TemporaryFailure(b"MAILDIR not set")
    try:
        os.chdir(maildir)
    except OSError as error:
        raise TemporaryFailure(b"unable to chdir to %b: %b" % (maildir, error_text(error.errno))) from error


def sweep_tmp(now: float) -> None:
    """Remove files in tmp/ that were not accessed for 36 hours; a file with an error is kept."""
    for name in _names(b"tmp"):
        path = b"tmp/" + name
        try:
            if now > os.stat(path).st_atime + _ABANDONED_S:
                os.unlink(path)
        except OSError:
            pass


def messages_in(folders: tuple[bytes, ...], now: float) -> list[tuple[int, bytes]]:
    """The messages of new/ or cur/ or both: time and path, oldest first.

    Messages of the current second are left for the next call; otherwise later ones could overtake them.
    """
    found = []
    for folder in folders:
        try:
            names = _names(folder, must_exist=True)
        except OSError as error:
            raise TemporaryFailure(b"unable to scan $MAILDIR/%b: %b" % (folder, error_text(error.errno))) from error
        for name in names:
            path = folder + b"/" + name
            try:
                born = int(os.stat(path).st_mtime)
            except OSError:
                continue
            if born < int(now):
                found.append((born, path))
    return sorted(found)


def _names(folder: bytes, must_exist: bool = False) -> list[bytes]:
    try:
        return [name for name in os.listdir(folder) if not name.startswith(b".")]
    except OSError:
        if must_exist:
            raise
        return []
