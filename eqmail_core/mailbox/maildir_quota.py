"""The quota of a Maildir with a maildirsize file (Maildir++): checked before each delivery.

The file is trusted, whichever program maintains it.  The Maildir is counted anew when the file has grown long.  It is
also counted when the file reports a full Maildir and is so old that removals may be missing from it.  The time to count
grows with the Maildir, so a process that serves several users does not count.

Fails: PermanentFailure when the Maildir is full; TemporaryFailure when the file cannot be read; CountIsDue.
Source: the Maildir++ description of Courier.
"""

import os
import time

from eqmail_core.mailbox import maildirsize
from eqmail_core.outcome import PermanentFailure, TemporaryFailure
from eqmail_core.system.files import open_regular, read_upto, write_all
from eqmail_core.text.error_text import error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.mailbox.maildirsize import Usage

FULL = b"Sorry, this mailbox is over its quota. (#5.2.2)"
NO_FILE = b"Unable to open maildirsize: it is no regular file. (#4.3.0)"
OLD_S = 900

_NAME = b"maildirsize"
_IS_FOLDER = b"maildirfolder"
_TRASH = b".Trash"
_FILE = os.O_RDWR | os.O_APPEND
_NEW_FILE = _FILE | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_COUNTS = 3


class CountIsDue(Exception):
    """The Maildir must be counted, by a process that may take the time."""


def quota_of(maildir: int, path: bytes, may_count: bool = True) -> "Quota | None":
    """The quota of the Maildir behind a descriptor, which `path` names; None if there is none.

    A folder of a Maildir (its name begins with a dot, and it has a file maildirfolder) has the quota of its Maildir.
    Messages in the trash folder do not count.
    Fails: CountIsDue, unless the caller `may_count`.
    """
    file = _open(maildir)
    if file is not None:
        return Quota(os.dup(maildir), file, may_count)
    name = path.rstrip(b"/").rpartition(b"/")[2]
    if name[:1] != b"." or name == _TRASH or not _exists(maildir, _IS_FOLDER):
        return None
    above = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=maildir)
    try:
        file = _open(above)
    except TemporaryFailure:
        os.close(above)
        raise
    if file is not None:
        return Quota(above, file, may_count)
    os.close(above)
    return None


class Quota:
    """The remaining space of an open Maildir; owns two descriptors: the Maildir and its file.

    A size that was granted but not delivered stays granted until `close`.
    """

    def __init__(self, maildir: int, file: int, may_count: bool = True) -> None:
        self._maildir = maildir
        self._file = file
        self._may_count = may_count
        self._granted: Usage = (0, 0)
        try:
            self._read()
            if self._length > maildirsize.MAX_BYTES:
                self._count_anew()
        except (TemporaryFailure, CountIsDue):
            self.close()
            raise

    def grant(self, size: int) -> None:
        """Check that one more message of `size` bytes fits.  Fails: PermanentFailure, CountIsDue."""
        if not self._fits(size):
            can_ever = maildirsize.fits(self._quota, (0, 0), size)
            if can_ever and time.time() - os.fstat(self._file).st_mtime > OLD_S:
                self._count_anew()
            if not self._fits(size):
                raise PermanentFailure(FULL)
        self._granted = (self._granted[0] + size, self._granted[1] + 1)

    def note(self, size: int) -> None:
        """Record that a message was delivered; if the disk is full, the next count finds it."""
        try:
            os.write(self._file, maildirsize.line((size, 1)))
        except OSError:
            pass

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self._file)
        os.close(self._maildir)

    def _fits(self, size: int) -> bool:
        used = (self._used[0] + self._granted[0], self._used[1] + self._granted[1])
        return maildirsize.fits(self._quota, used, size)

    def _read(self) -> None:
        try:
            os.lseek(self._file, 0, os.SEEK_SET)
            text = read_upto(self._file, maildirsize.READ_BYTES)
            self._length = os.fstat(self._file).st_size
        except OSError as error:
            raise _error(b"read", error) from error
        self._first_line = text.partition(b"\n")[0]
        self._quota, self._used = maildirsize.parse(text)

    def _count_anew(self) -> None:
        """Replace the file by a fresh count; repeat if others append to it meanwhile.

        A message that was granted and already delivered is both counted and granted; the error lasts for the rest of a
        batch.
        """
        if not self._may_count:
            raise CountIsDue
        try:
            for _ in range(_COUNTS):
                before = self._length
                used = _count(self._maildir)
                self._read()
                if self._length == before:
                    break
            self._replace(maildirsize.render(self._first_line, used))
            self._read()
        except OSError as error:
            raise _error(b"write", error) from error

    def _replace(self, text: bytes) -> None:
        temporary = b"tmp/%b.%d" % (_NAME, os.getpid())
        mode = os.fstat(self._file).st_mode & 0o777
        try:
            os.unlink(temporary, dir_fd=self._maildir)
        except FileNotFoundError:
            pass
        new = os.open(temporary, _NEW_FILE, mode, dir_fd=self._maildir)
        try:
            os.fchmod(new, mode)
            write_all(new, text)
            os.rename(temporary, _NAME, src_dir_fd=self._maildir, dst_dir_fd=self._maildir)
        except OSError:
            os.close(new)
            raise
        os.close(self._file)
        self._file = new


def _count(maildir: int) -> "Usage":
    """Size and number of the messages in a Maildir and its folders.  Fails: OSError."""
    size = count = 0
    with _Listing(maildir, b".") as top:
        folders = [entry for entry in top.names if entry[:1] == b"." and entry != _TRASH]
    for folder in (b".", *folders):
        for part in (b"new", b"cur"):
            with _Listing(maildir, folder + b"/" + part) as listing:
                for name in listing.names:
                    if name[:1] == b"." or maildirsize.is_trashed(name):
                        continue
                    its = maildirsize.size_in(name)
                    size += listing.size_of(name) if its is None else its
                    count += 1
    return size, count


class _Listing:
    """The names in a folder; none if there is no such folder."""

    def __init__(self, base: int, path: bytes) -> None:
        self._base = base
        self._path = path
        self._fd = -1
        self.names: list[bytes] = []

    def __enter__(self) -> "_Listing":
        try:
            self._fd = os.open(self._path, _LIST, dir_fd=self._base)
        except (FileNotFoundError, NotADirectoryError):
            return self
        self.names = [os.fsencode(name) for name in os.listdir(self._fd)]
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def size_of(self, name: bytes) -> int:
        """The size of a file; 0 if it was removed meanwhile."""
        try:
            return os.stat(name, dir_fd=self._fd).st_size
        except FileNotFoundError:
            return 0


def _open(maildir: int) -> int | None:
    try:
        file = open_regular(_NAME, _FILE, maildir)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _error(b"open", error) from error
    if file is None:
        raise TemporaryFailure(NO_FILE)
    return file


def _exists(folder: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=folder)
    except OSError:
        return False
    return True


def _error(doing: bytes, error: OSError) -> TemporaryFailure:
    return TemporaryFailure(b"Unable to %b %b: %b. (#4.3.0)" % (doing, _NAME, error_text(error.errno)))
