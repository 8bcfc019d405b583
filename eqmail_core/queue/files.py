"""The files of preprocessed messages (S5): senders, recipients, failures.

One method per fact that the scheduler records. Each is one operation on one file, so that a crash between any two
leaves a valid state of the queue. Channels are indices, see queue/format/channels.py.

Fails: QueueFileError, whose text is the warning to log; a later call of the same method may succeed.
Source: queue.md 3.3, 3.4, 3.7.
"""

import os
from collections.abc import Iterator

from eqmail_core.dsn.parameters import DsnParameters, parse_dsn
from eqmail_core.mail.message_identity import MessageIdentity
from eqmail_core.queue.format.channels import CHANNELS
from eqmail_core.queue.format.info import dsn_in_info, parse_info
from eqmail_core.queue.format.recipient_list import MARK_DONE, records
from eqmail_core.queue.format.tree import MESSAGE_FILES, OLDER_CLOCK, WARNED
from eqmail_core.site.layout import QueuePaths
from eqmail_core.system.files import CHUNK, read_all, sync_folder, write_all
from eqmail_core.text.error_text import error_text

LIST_MODE = MESSAGE_FILES["info"][1]
"""Mode of every file that the scheduler writes."""

WARNED_MODE = LIST_MODE | WARNED
"""Mode of info/N after a delay warning was sent."""

READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_DONE = bytes((MARK_DONE,))


class QueueFileError(Exception):
    """A failed operation on the queue; `text` names it and the system's error."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text.decode("latin-1"))
        self._text = text

    @property
    def text(self) -> bytes:
        """Return the text for the log."""
        cause = self.__cause__
        if not isinstance(cause, OSError) or not cause.errno:
            return self._text
        return b"%b (%b)" % (self._text, error_text(cause.errno))


class MessageInfo:
    """What info/N says of a message; `dsn`: its DSN parameters, None without any."""

    __slots__ = ("dsn", "identity", "sender")

    def __init__(self, identity: MessageIdentity, sender: bytes, dsn: DsnParameters | None) -> None:
        self.identity = identity
        self.sender = sender
        self.dsn = dsn


class QueueFiles:
    """The files info/N, local/N, remote/N and bounce/N of one queue, and mess/N for reading."""

    def __init__(self, paths: QueuePaths) -> None:
        self.paths = paths

    def short(self, path: str) -> bytes:
        """Return a path as the log shows it: relative to the queue."""
        return path[len(self.paths.root) + 1 :].encode()

    def birth_of(self, number: int) -> list[tuple[int, int]] | None:
        """Return the channels of a message with unfinished lists, with due times.

        None if it is not S5.
        Fails: QueueFileError.
        """
        if self.stat(self.paths.info(number)) is None or self.stat(self.paths.todo(number)) is not None:
            return None
        found = []
        for channel, name in enumerate(CHANNELS):
            state = self.stat(self.paths.channel(name, number))
            if state is not None:
                found.append((channel, int(state.st_mtime)))
        return found

    def info(self, number: int) -> "MessageInfo":
        """Return what info/N says.  Fails: QueueFileError."""
        path = self.paths.info(number)
        try:
            fd = os.open(path, READ)
            try:
                identity = MessageIdentity.on_disk(number, os.fstat(fd).st_mtime_ns)
                text = os.read(fd, CHUNK)
                if len(text) == CHUNK:
                    text += read_all(fd)
                sender = parse_info(text)
            finally:
                os.close(fd)
        except OSError as error:
            raise QueueFileError(b"trouble opening %b; will try again later" % self.short(path)) from error
        if sender is None:
            raise QueueFileError(b"trouble reading %b; will try again later" % self.short(path))
        return MessageInfo(identity, sender, parse_dsn(dsn_in_info(text)))

    def identity(self, number: int) -> MessageIdentity | None:
        """Return which message has this number on the disk; None without an info/N.  Fails: QueueFileError."""
        state = self.stat(self.paths.info(number))
        return None if state is None else MessageIdentity.on_disk(number, state.st_mtime_ns)

    def recipients(self, number: int, channel: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield offset, mark and address of every recipient of a channel.

        A long list is read as it is consumed.
        Fails: QueueFileError; the iterator may fail with OSError.
        """
        path = self.paths.channel(CHANNELS[channel], number)
        try:
            fd = os.open(path, READ)
            try:
                head = os.read(fd, CHUNK)
            except OSError:
                os.close(fd)
                raise
        except OSError as error:
            raise QueueFileError(b"trouble opening %b; will try again later" % self.short(path)) from error
        if len(head) == CHUNK:
            return records(_rest_of(fd, head))
        os.close(fd)
        return records((head,))

    def mark_done(self, number: int, channel: int, offset: int) -> None:
        """Mark a recipient as finished; a crash may lose the mark, as in C.  Fails: QueueFileError."""
        path = self.paths.channel(CHANNELS[channel], number)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.pwrite(fd, _DONE, offset)
            finally:
                os.close(fd)
        except OSError as error:
            raise QueueFileError(b"trouble marking %b; message will be delivered twice!" % self.short(path)) from error

    def finish_channel(self, number: int, channel: int) -> bool:
        """Remove the list of a finished channel; return whether it was the last one.

        Fails: QueueFileError when it is still there.
        """
        path = self.paths.channel(CHANNELS[channel], number)
        self._unlink(path)
        other = self.paths.channel(CHANNELS[1 - channel], number)
        try:
            return self.stat(other) is None
        except QueueFileError:
            return True

    def is_finished(self, number: int) -> bool:
        """Return whether only info and perhaps bounce are left.  Fails: QueueFileError."""
        return self.birth_of(number) == []

    def add_failure(self, number: int, block: bytes) -> None:
        """Append to the failures for the bounce.  Fails: QueueFileError; then nothing was appended."""
        path = self.paths.bounce(number)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, LIST_MODE)
            try:
                size = os.fstat(fd).st_size
                try:
                    write_all(fd, block)
                except OSError:
                    os.ftruncate(fd, size)
                    raise
            finally:
                os.close(fd)
        except OSError as error:
            raise QueueFileError(b"unable to append to bounce message; HELP! will try the recipient again") from error

    def flush_failures(self, number: int) -> None:
        """Flush the failures to the disk.  Fails: QueueFileError."""
        path = self.paths.bounce(number)
        try:
            fd = os.open(path, READ)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            sync_folder(self.paths.bounces)
        except OSError as error:
            raise QueueFileError(b"trouble fsyncing %b; will try its recipients again" % self.short(path)) from error

    def has_failures(self, number: int) -> bool:
        """Return whether failures are noted for the sender.  Fails: QueueFileError."""
        return self.stat(self.paths.bounce(number)) is not None

    def failures(self, number: int) -> Iterator[bytes]:
        """Yield the noted failures, in pieces.  Fails: OSError."""
        return _pieces(self.paths.bounce(number))

    def message(self, number: int) -> Iterator[bytes]:
        """Yield the message itself, in pieces.  Fails: OSError."""
        return _pieces(self.paths.mess(number))

    def open_message(self, number: int) -> int:
        """Return a descriptor of the message.  Fails: OSError."""
        return os.open(self.paths.mess(number), READ)

    def remove_failures(self, number: int) -> None:
        """Remove the failures after the bounce was sent.  Fails: QueueFileError."""
        path = self.paths.bounce(number)
        try:
            os.unlink(path)
        except OSError as error:
            raise QueueFileError(b"unable to unlink " + self.short(path)) from error

    def remove_info(self, number: int) -> None:
        """Remove info/N, which ends the message; the cleaner removes the rest.  Fails: QueueFileError."""
        self._unlink(self.paths.info(number))

    def note_due(self, number: int, channel: int, due: int) -> None:
        """Store the time of the next attempt for the next scheduler.  Fails: QueueFileError."""
        path = self.paths.channel(CHANNELS[channel], number)
        try:
            # Reading the time costs a fraction of a change, and most of a large queue was not tried since the start.
            if int(os.lstat(path).st_mtime) != due:
                os.utime(path, (due, due), follow_symlinks=False)
        except OSError as error:
            raise QueueFileError(b"unable to utime %b; message will be retried too soon" % self.short(path)) from error

    def size(self, number: int) -> int:
        """Return the size of the message in bytes, 0 if it is missing.  Fails: QueueFileError."""
        state = self.stat(self.paths.mess(number))
        return state.st_size if state is not None else 0

    def is_warned(self, number: int) -> bool:
        """Return whether a delay warning was sent; the mark is the execute bit of info/N.

        Fails: QueueFileError.
        """
        state = self.stat(self.paths.info(number))
        return state is not None and bool(state.st_mode & WARNED)

    def note_warned(self, number: int) -> None:
        """Mark that a delay warning was sent.  Fails: QueueFileError."""
        path = self.paths.info(number)
        try:
            os.chmod(path, os.stat(path).st_mode & OLDER_CLOCK | WARNED_MODE)
        except OSError as error:
            raise QueueFileError(b"unable to chmod %b; its sender may be told again" % self.short(path)) from error

    def is_abandoned(self, number: int, now: int, age_s: int) -> bool:
        """Return whether mess/N was left by an injection that died more than `age_s` ago."""
        try:
            return (
                now > os.stat(self.paths.mess(number)).st_atime + age_s
                and self.stat(self.paths.info(number)) is None
                and self.stat(self.paths.todo(number)) is None
            )
        except (OSError, QueueFileError):
            return False

    def stat(self, path: str) -> os.stat_result | None:
        """Return the status of a file, None if it does not exist.  Fails: QueueFileError."""
        try:
            return os.stat(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise QueueFileError(b"unable to stat %b; will try again later" % self.short(path)) from error

    def _unlink(self, path: str) -> None:
        try:
            os.unlink(path)
        except OSError as error:
            raise QueueFileError(b"unable to unlink %b; will try again later" % self.short(path)) from error


def _rest_of(fd: int, head: bytes) -> Iterator[bytes]:
    try:
        while head:
            yield head
            head = os.read(fd, CHUNK)
    finally:
        os.close(fd)


def _pieces(path: str) -> Iterator[bytes]:
    fd = os.open(path, READ)
    try:
        while piece := os.read(fd, CHUNK):
            yield piece
    finally:
        os.close(fd)
