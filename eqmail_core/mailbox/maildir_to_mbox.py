"""Moves the messages of a Maildir to the end of an mbox file, which is replaced as a whole.

Source: delivery.md 5.9 (maildir2mbox.c); mbox(5).
"""

import fcntl
import os

from eqmail_core.mail.dates import ctime_utc
from eqmail_core.mail.mbox import FromQuoter
from eqmail_core.outcome import TemporaryFailure
from eqmail_core.system.files import CHUNK, open_regular, sync_folder, write_all
from eqmail_core.text.error_text import error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_NONBLOCK | os.O_TRUNC | os.O_CREAT | os.O_CLOEXEC
_RETURN_PATH = b"Return-Path: <"
_BLANKS = bytes.maketrans(b" \t", b"--")


def move_to_mbox(messages: list[tuple[int, bytes]], mbox: bytes, temporary: bytes) -> list[bytes]:
    """Append the messages (time and path) to `mbox` by way of `temporary`, then remove them.

    Returns the paths of messages that could not be removed; the next run appends them again.
    Fails: TemporaryFailure, with the text for the log; then nothing has changed.
    """
    lock = _open(mbox, _APPEND, 0o600, b"unable to lock " + mbox)
    try:
        with _ErrorContext(b"unable to lock " + mbox):
            fcntl.flock(lock, fcntl.LOCK_EX)
        new = _open(temporary, _NEW, 0o644, b"unable to create " + temporary)
        try:
            _write(new, temporary, _pieces(_open(mbox, _READ, 0, b"unable to read " + mbox), b"unable to read " + mbox))
            for born, path in messages:
                _write(new, temporary, _quoted(born, path))
            with _ErrorContext(b"unable to write to " + temporary):
                os.fsync(new)
        except TemporaryFailure:
            # An incomplete file would only take space that is scarce already.
            _removed(temporary)
            raise
        finally:
            os.close(new)
        with _ErrorContext(b"unable to move %b to %b" % (temporary, mbox)):
            os.rename(temporary, mbox)
            sync_folder(os.path.dirname(os.fsdecode(mbox)) or ".")
        return [path for _, path in messages if not _removed(path)]
    finally:
        os.close(lock)


class _ErrorContext:
    """Converts an OSError within it into a TemporaryFailure that names the operation."""

    def __init__(self, what: bytes) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise TemporaryFailure(self._what + b": " + error_text(error.errno)) from error


def _open(path: bytes, flags: int, mode: int, what: bytes) -> int:
    with _ErrorContext(what):
        return os.open(path, flags, mode)


def _open_message(path: bytes, what: bytes) -> int:
    fd = None
    with _ErrorContext(what):
        fd = open_regular(path)
    if fd is None:
        raise TemporaryFailure(what + b": it is no regular file")
    return fd


def _write(fd: int, path: bytes, pieces: "Iterator[bytes]") -> None:
    for piece in pieces:
        with _ErrorContext(b"unable to write to " + path):
            write_all(fd, piece)


def _pieces(fd: int, what: bytes) -> "Iterator[bytes]":
    """Read a descriptor to its end, then close it."""
    try:
        while True:
            with _ErrorContext(what):
                piece = os.read(fd, CHUNK)
            if not piece:
                return
            yield piece
    finally:
        os.close(fd)


def _quoted(born: int, path: bytes) -> "Iterator[bytes]":
    """A message in mbox format: From_ line, quoted lines, ended by an empty line."""
    quoter = FromQuoter()
    before = b""
    what = b"unable to read $MAILDIR/" + path
    for piece in _pieces(_open_message(path, what), what):
        if not before:
            before = b"From %b %b\n" % (_sender(piece), ctime_utc(born))
            yield before
        yield quoter.feed(piece)
    yield quoter.finish() if before else b"From XXX %b\n\n" % ctime_utc(born)


def _sender(beginning: bytes) -> bytes:
    """The envelope sender, if the first line of the message has it."""
    line, end, _ = beginning.partition(b"\n")
    if not end or not line.startswith(_RETURN_PATH):
        return b"XXX"
    if line[len(_RETURN_PATH) :].startswith(b">"):
        return b"MAILER-DAEMON"
    return line[len(_RETURN_PATH) : -1].translate(_BLANKS)


def _removed(path: bytes) -> bool:
    try:
        os.unlink(path)
    except OSError:
        return False
    return True
