"""Maildirs: a copy is written in tmp/, synced to the disk, and only then named in new/.

The steps are separate so that one sync can serve many copies.  No reader ever sees a torn file in new/, even after a
crash of the system, as long as `publish` follows the sync.  The entry in new/ itself is durable after the next sync.

Fails: TemporaryFailure, with the report text.
Source: maildir(5); qmail-local.c maildir_child.
"""

import os
import time

from eqmail_core.mailbox.maildir_quota import quota_of
from eqmail_core.mailbox.maildirsize import sized
from eqmail_core.outcome import TemporaryFailure
from eqmail_core.system.message_file import MessageFile, MessageUnreadable

NO_FOLDER = b"Unable to chdir to maildir. (#4.2.1)"
WRITE_ERROR = b"Temporary error on maildir delivery. (#4.3.0)"
UNREADABLE = b"Unable to read message. (#4.3.0)"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PATH = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_TRIES = 3


class MaildirNames:
    """Creates file names that are unique on this host and, by its name, elsewhere.

    The form is TIME.UNIQUE.HOST.
    """

    __slots__ = ("_count", "_unique", "host")

    def __init__(self, host: str, pid: int) -> None:
        self.host = host.encode("utf-8", "surrogateescape").replace(b"/", b"\\057").replace(b":", b"\\072")
        self._unique = b"P%dQ" % pid
        self._count = 0

    def new_name(self) -> bytes:
        """Create a new name on every call."""
        self._count += 1
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        return b"%d.M%d%b%d.%b" % (seconds, nanoseconds // 1000, self._unique, self._count, self.host)

    def name_for(self, name: bytes, part: int) -> bytes:
        """The name for a requested TIME.UNIQUE; the parts of one delivery differ.  b"" if unfit."""
        if not name or name[:1] == b"." or b"/" in name or b":" in name:
            return b""
        return b"%b.%b" % (name, self.host) if part == 0 else b"%b_%d.%b" % (name, part, self.host)


def own_names() -> MaildirNames:
    """Names for this process; call it again after a fork."""
    return MaildirNames(os.uname().nodename, os.getpid())


class Maildir:
    """An open Maildir, at `path` when it was opened; `close` it.

    `quota` is None unless the Maildir has one.
    Fails: TemporaryFailure; PermanentFailure from `write` when the Maildir is full; CountIsDue, unless the caller
    `may_count`.
    """

    __slots__ = ("new", "quota", "tmp")

    def __init__(self, path: bytes, may_count: bool = True) -> None:
        try:
            base = os.open(path, _PATH)
        except OSError as error:
            raise TemporaryFailure(NO_FOLDER) from error
        self.tmp = self.new = -1
        self.quota = None
        try:
            self.quota = quota_of(base, path, may_count)
            self.tmp = os.open("tmp", _PATH, dir_fd=base)
            self.new = os.open("new", _FOLDER, dir_fd=base)
        except OSError as error:
            self.close()
            raise TemporaryFailure(WRITE_ERROR) from error
        finally:
            os.close(base)

    def write(self, names: MaildirNames, wanted: bytes, head: bytes, message: MessageFile) -> "MaildirFile":
        """Write `head` and the message to a file in tmp/, for the name `wanted` or a new one.

        A copy with a wanted name replaces one of the same name: it is the same delivery repeated.  `wanted` is b"" for
        a new name.
        """
        size = 0
        if self.quota is not None:
            size = len(head) + message.size()
            self.quota.grant(size)
            wanted = wanted and sized(wanted, size)
        temporary, fd = self._create(names, size)
        try:
            message.copy_to(fd, head)
        except (OSError, MessageUnreadable) as error:
            os.close(fd)
            os.unlink(temporary, dir_fd=self.tmp)
            raise TemporaryFailure(WRITE_ERROR if isinstance(error, OSError) else UNREADABLE) from error
        return MaildirFile(self, fd, temporary, wanted, size)

    def identity(self) -> tuple[int, int]:
        """Device and inode of new/: the same for the same Maildir, however often it was opened."""
        found = os.fstat(self.new)
        return found.st_dev, found.st_ino

    def sync(self) -> None:
        """Sync the names in new/ to the disk.  Fails: OSError."""
        os.fsync(self.new)

    def close(self) -> None:
        """Close the folders."""
        for fd in (self.tmp, self.new):
            if fd >= 0:
                os.close(fd)
        self.tmp = self.new = -1
        if self.quota is not None:
            self.quota.close()
            self.quota = None

    def _create(self, names: MaildirNames, size: int) -> tuple[bytes, int]:
        for _ in range(_TRIES):
            name = sized(names.new_name(), size) if size else names.new_name()
            try:
                return name, os.open(name, _NEW_FILE, 0o600, dir_fd=self.tmp)
            except FileExistsError:
                continue
            except OSError as error:
                raise TemporaryFailure(WRITE_ERROR) from error
        raise TemporaryFailure(WRITE_ERROR)


class MaildirFile:
    """One copy in progress: written, then `sync`, then `publish`; or `discard`.

    The caller may replace `sync` by a sync of the file system.  `size` counts against the quota; 0 if there is none.
    """

    __slots__ = ("_fd", "_size", "_temporary", "_wanted", "maildir")

    def __init__(self, maildir: Maildir, fd: int, temporary: bytes, wanted: bytes, size: int) -> None:
        self.maildir = maildir
        self._fd = fd
        self._temporary = temporary
        self._wanted = wanted
        self._size = size

    def sync(self) -> None:
        """Sync the copy to the disk.  Fails: OSError."""
        os.fsync(self._fd)

    def publish(self) -> None:
        """Give the copy its name in new/ and close the descriptor."""
        self._close()
        tmp, new, temporary = self.maildir.tmp, self.maildir.new, self._temporary
        try:
            if self._wanted:
                os.rename(temporary, self._wanted, src_dir_fd=tmp, dst_dir_fd=new)
            else:
                os.link(temporary, temporary, src_dir_fd=tmp, dst_dir_fd=new)
                self.discard()
        except OSError as error:
            self.discard()
            raise TemporaryFailure(WRITE_ERROR) from error
        if self._size and self.maildir.quota is not None:
            self.maildir.quota.note(self._size)

    def discard(self) -> None:
        """Remove the copy from tmp/; if that fails, a later clean-up of tmp/ removes it."""
        self._close()
        try:
            os.unlink(self._temporary, dir_fd=self.maildir.tmp)
        except OSError:
            pass

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def deliver_to_maildir(path: bytes, head: bytes, message: MessageFile, wanted: bytes = b"", part: int = 0) -> None:
    """Deliver one copy durably.

    `part` numbers the parts of one delivery, see `MaildirNames.name_for`.
    """
    names = own_names()
    maildir = Maildir(path)
    try:
        copy = maildir.write(names, names.name_for(wanted, part), head, message)
        try:
            copy.sync()
            copy.publish()
            maildir.sync()
        except OSError as error:
            copy.discard()
            raise TemporaryFailure(WRITE_ERROR) from error
    finally:
        maildir.close()
