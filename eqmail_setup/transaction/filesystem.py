"""What setup can see and do below one home: the port between the plan and the disk.

`disk_world.RealWorld` is the file system itself, `recorded_world.RecordedWorld` a staged home without owners.
"""

import os
from errno import EPERM
from typing import NamedTuple, Protocol

from eqmail_setup.installation.manifest_nodes import PathKind, Permissions

BACKUP_SUFFIX = ".before-eqmail"
"""What the name of a file gets when setup moves it out of the way."""

NO_PERMISSIONS = Permissions("", "", 0)


class UntrustedPathError(OSError):
    """A symbolic or hard link that an account without that right made."""

    def __init__(self, what: str, path: str = "") -> None:
        super().__init__(EPERM, what, path or None)


class PathInfo(NamedTuple):
    """What lies at a path. `linked`: it was reached through a symbolic link of the administrator."""

    kind: PathKind
    permissions: Permissions
    size: int
    linked: bool


class PathSnapshot(NamedTuple):
    """All that can be put back: `content` is that of a file, or the target of a link."""

    kind: PathKind
    permissions: Permissions
    content: bytes = b""


class Filesystem(Protocol):
    """What setup can see and do below one home. Paths are relative to the home, or begin with a slash."""

    def display_path(self, path: str) -> str:
        """The path as people should read it."""
        ...

    def stat(self, path: str) -> PathInfo | None:
        """What is there; None for nothing."""
        ...

    def read(self, path: str) -> bytes:
        """The content of a file."""
        ...

    def listdir(self, path: str) -> list[str]:
        """What lies in a directory, sorted."""
        ...

    def read_link(self, path: str) -> str | None:
        """Where a symbolic link points to; None for anything else."""
        ...

    def create(self, path: str, kind: PathKind, permissions: Permissions) -> None:
        """Make a directory or a named pipe."""
        ...

    def write(self, path: str, content: bytes, permissions: Permissions, flush: bool = True) -> None:
        """Put a file in place as a whole; without `flush` it is on the disk after `finish` only."""
        ...

    def set_permissions(self, path: str, permissions: Permissions) -> None:
        """Set owner, group and mode."""
        ...

    def back_up(self, path: str) -> None:
        """Rename a file to NAME.before-eqmail, readable by its owner only."""
        ...

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        ...

    def remove_file(self, path: str) -> None:
        """Remove a file, a link or a named pipe; one that is gone already is fine."""
        ...

    def remove_tree(self, path: str) -> None:
        """Remove a directory with everything in it, following no link."""
        ...

    def create_symlink(self, path: str, target: str) -> None:
        """Put a symbolic link in place."""
        ...

    def remove_partial(self, path: str) -> None:
        """Remove what a broken `write` or `link` left beside a path."""
        ...

    def sync(self) -> None:
        """Put the entries of every changed folder on the disk, after the last change."""
        ...


def snapshot(path: str, filesystem: Filesystem, itself: bool = False) -> PathSnapshot | None:
    """What lies at a path, link or not.

    A directory that the administrator put elsewhere is the directory; a link to one is a link where `itself` is asked.
    """
    target = filesystem.read_link(path) if path else None
    seen = filesystem.stat(path)
    if target is not None and (itself or seen is None or seen.kind != PathKind.DIRECTORY):
        return PathSnapshot(PathKind.SYMLINK, NO_PERMISSIONS, os.fsencode(target))
    if seen is None:
        return None
    return PathSnapshot(seen.kind, seen.permissions, filesystem.read(path) if seen.kind == PathKind.FILE else b"")
