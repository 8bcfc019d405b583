"""The file system under one home, changed so that root can work where service accounts may write.

No step follows a symbolic link that one of them could have made, and a file with a second name elsewhere is left
alone. Every file is put in place as a whole.

Fails: OSError of the system; `Distrusted` for a link that must not be followed; KeyError for a missing account.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EFBIG, EINVAL, ENOTDIR

from eqmail_core.system.files import CHUNK, write_all
from eqmail_core.system.kernel import sync_file_system
from eqmail_setup.installation.accounts import group_name, group_number, user_name, user_number
from eqmail_setup.installation.manifest_nodes import PathKind, Permissions
from eqmail_setup.transaction.filesystem import BACKUP_SUFFIX, PathInfo, UntrustedPathError

_TRAVERSE_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC

MAX_BYTES = 16 << 20
"""So much is read of a file of an account that is not trusted; .qmail files and secrets are far shorter."""

_KINDS = {
    stat.S_IFDIR: PathKind.DIRECTORY,
    stat.S_IFREG: PathKind.FILE,
    stat.S_IFIFO: PathKind.FIFO,
    stat.S_IFLNK: PathKind.SYMLINK,
}


class DiskFilesystem:
    """The file system itself. `root`, when given, stands before every path (see `RecordedWorld`)."""

    def __init__(self, home: str, root: str = "") -> None:
        self.home = home
        self._root = root.rstrip("/")
        self._base = self._root + home
        self._trusted = {0, os.geteuid()}
        self._touched: set[str] = set()
        self._unconfined = False

    def display_path(self, path: str) -> str:
        """The path as people should read it."""
        if path.startswith("/"):
            return self._root + path
        return f"{self._base}/{path}" if path else self._base

    def stat(self, path: str) -> PathInfo | None:
        """What is there; None for nothing."""
        try:
            fd, linked = self._open(path, _TRAVERSE_FLAGS)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except UntrustedPathError:
            return PathInfo(PathKind.UNTRUSTED_LINK, Permissions("?", "?", 0), 0, True)
        try:
            found = os.fstat(fd)
        finally:
            os.close(fd)
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), PathKind.SPECIAL)
        permissions = Permissions(user_name(found.st_uid), group_name(found.st_gid), stat.S_IMODE(found.st_mode))
        return PathInfo(kind, permissions, found.st_size, linked)

    def read(self, path: str) -> bytes:
        """The content of a file; one writable for other accounts is read only up to a size."""
        fd, _ = self._open(path, _OPEN)
        with os.fdopen(fd, "rb", CHUNK) as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(EINVAL, "it is no regular file", self.display_path(path))
            content = file.read(MAX_BYTES + 1) if found.st_uid not in self._trusted else file.read()
            if found.st_uid not in self._trusted and len(content) > MAX_BYTES:
                raise OSError(EFBIG, f"it is longer than {MAX_BYTES} bytes", self.display_path(path))
            return content

    def listdir(self, path: str) -> list[str]:
        """What lies in a directory, sorted."""
        fd, _ = self._open(path, _OPEN | os.O_DIRECTORY)
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def read_link(self, path: str) -> str | None:
        """Where a symbolic link points to; None for anything else."""
        try:
            with self._parent(path, touch=False) as (parent, name):
                return os.readlink(name or ".", dir_fd=parent)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (EINVAL, ENOTDIR):
                return None
            raise

    def create(self, path: str, kind: PathKind, permissions: Permissions) -> None:
        """Make a directory or a named pipe."""
        if not path:
            os.makedirs(os.path.dirname(self._base), mode=0o755, exist_ok=True)
            os.mkdir(self._base, 0o700)
        else:
            with self._parent(path) as (parent, name):
                if kind == PathKind.FIFO:
                    os.mkfifo(name, 0o600, dir_fd=parent)
                else:
                    os.mkdir(name, 0o700, dir_fd=parent)
        self.set_permissions(path, permissions)

    def write(self, path: str, content: bytes, permissions: Permissions, flush: bool = True) -> None:
        """Put a file in place as a whole; without `flush` it is on the disk after `finish` only."""
        with self._parent(path) as (parent, name):
            temporary = _unlinked(f".{name}.new", parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(temporary, flags, 0o600, dir_fd=parent)
            try:
                try:
                    write_all(fd, content)
                    self._apply_permissions(fd, path, permissions)
                    if flush:
                        os.fsync(fd)
                    self._unconfined |= not flush
                finally:
                    os.close(fd)
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except (OSError, KeyError):
                os.unlink(temporary, dir_fd=parent)
                raise

    def set_permissions(self, path: str, permissions: Permissions) -> None:
        """Set owner, group and mode."""
        fd, _ = self._open(path, _OPEN)
        try:
            self._apply_permissions(fd, path, permissions)
        finally:
            os.close(fd)

    def back_up(self, path: str) -> None:
        """Rename a file to NAME.before-eqmail, readable by its owner only."""
        fd, _ = self._open(path, _OPEN)
        try:
            os.fchmod(fd, 0o600)
        finally:
            os.close(fd)
        with self._parent(path) as (parent, name):
            os.rename(name, name + BACKUP_SUFFIX, src_dir_fd=parent, dst_dir_fd=parent)

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        with self._parent(path) as (parent, name):
            os.rmdir(name, dir_fd=parent)

    def remove_file(self, path: str) -> None:
        """Remove a file, a link or a named pipe; one that is gone already is fine."""
        with self._parent(path) as (parent, name):
            _unlinked(name, parent)

    def remove_tree(self, path: str) -> None:
        """Remove a directory with everything in it, following no link."""
        with self._parent(path) as (parent, name):
            shutil.rmtree(name, dir_fd=parent)

    def remove_partial(self, path: str) -> None:
        """Remove what a broken `write` or `link` left beside a path."""
        with self._parent(path) as (parent, name):
            _unlinked(f".{name}.new", parent)

    def create_symlink(self, path: str, target: str) -> None:
        """Put a symbolic link in place."""
        with self._parent(path) as (parent, name):
            temporary = _unlinked(f".{name}.new", parent)
            os.symlink(target, temporary, dir_fd=parent)
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)

    def sync(self) -> None:
        """Put the entries of every changed folder on the disk, after the last change."""
        if self._unconfined:
            fd = os.open(self._base, _OPEN | os.O_DIRECTORY)
            try:
                sync_file_system(fd)
            finally:
                os.close(fd)
            self._unconfined = False
        for folder in sorted(self._touched):
            try:
                fd, _ = self._open(folder, _OPEN | os.O_DIRECTORY)
            except FileNotFoundError:
                continue
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        self._touched.clear()

    def _apply_permissions(self, fd: int, path: str, permissions: Permissions) -> None:
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
            raise UntrustedPathError(f"has {found.st_nlink} names; remove the others", self.display_path(path))
        os.fchown(fd, user_number(permissions.owner), group_number(permissions.group))
        os.fchmod(fd, permissions.mode)

    @contextmanager
    def _parent(self, path: str, touch: bool = True) -> Iterator[tuple[int, str]]:
        folder, slash, name = path.rpartition("/")
        folder = folder or slash
        fd, _ = self._open(folder, _OPEN | os.O_DIRECTORY)
        try:
            yield fd, name
            if touch:
                self._touched.add(folder)
        except OSError as error:
            raise self._with_path(error, path) from None
        finally:
            os.close(fd)

    def _with_path(self, error: OSError, path: str) -> OSError:
        """The same error with the whole path, of which the system got the last part only."""
        if not os.path.isabs(os.fsdecode(error.filename or "")):
            error.filename = self.display_path(path)
        return error

    def _open(self, path: str, flags: int) -> tuple[int, bool]:
        """Walk from the home to `path`, one component at a time; also return whether the last one is a link."""
        base = f"{self._root}/" if path.startswith("/") else self._base
        parts = [part for part in path.split("/") if part]
        fd = os.open(base, _TRAVERSE_FLAGS if parts else flags)
        linked = False
        for number, part in enumerate(parts, 1):
            try:
                step, linked = self._step(fd, part, flags if number == len(parts) else _TRAVERSE_FLAGS)
            except UntrustedPathError as error:
                raise UntrustedPathError(str(error.strerror), self.display_path(path)) from None
            except OSError as error:
                raise self._with_path(error, path) from None
            finally:
                os.close(fd)
            fd = step
        return fd, linked

    def _step(self, fd: int, name: str, flags: int) -> tuple[int, bool]:
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            return os.open(name, flags | os.O_NOFOLLOW, dir_fd=fd), False
        # A link is followed only if root or the caller made it and no other account can replace it now.
        folder = os.fstat(fd)
        if found.st_uid not in self._trusted or folder.st_uid not in self._trusted or folder.st_mode & 0o022:
            raise UntrustedPathError("a symbolic link in a place that others can write")
        return os.open(name, flags, dir_fd=fd), True


def _unlinked(name: str, parent: int) -> str:
    """Remove a name from a folder, if it is there; the name."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    return name
