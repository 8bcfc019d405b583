"""What setup can see and do below one home: the port between the plan and the disk.

`disk_world.RealWorld` is the file system itself, `recorded_world.RecordedWorld` a staged home without owners.
"""

import os
from errno import EPERM
from typing import NamedTuple, Protocol

from eqmail_setup.installation.manifest_nodes import Dress

ASIDE = ".before-eqmail"
"""What the name of a file gets when setup moves it out of the way."""

LINK = "a symbolic link"
NO_DRESS = Dress("", "", 0)


class Distrusted(OSError):
    """A symbolic link, or a second name, that somebody without the right to it made."""

    def __init__(self, what: str, path: str = "") -> None:
        super().__init__(EPERM, what, path or None)


class Seen(NamedTuple):
    """What lies at a path. `linked`: it was reached through a symbolic link of the administrator."""

    kind: str
    dress: Dress
    size: int
    linked: bool


class State(NamedTuple):
    """All that can be put back: `content` is that of a file, or the target of a link."""

    kind: str
    dress: Dress
    content: bytes = b""


class World(Protocol):
    """What setup can see and do below one home. Paths are relative to the home, or begin with a slash."""

    def show(self, path: str) -> str:
        """The path as people should read it."""
        ...

    def look(self, path: str) -> Seen | None:
        """What is there; None for nothing."""
        ...

    def read(self, path: str) -> bytes:
        """The content of a file."""
        ...

    def names(self, path: str) -> list[str]:
        """What lies in a directory, sorted."""
        ...

    def target(self, path: str) -> str | None:
        """Where a symbolic link points to; None for anything else."""
        ...

    def make(self, path: str, kind: str, dress: Dress) -> None:
        """Make a directory or a named pipe."""
        ...

    def write(self, path: str, content: bytes, dress: Dress, flush: bool = True) -> None:
        """Put a file in place as a whole; without `flush` it is on the disk after `finish` only."""
        ...

    def dress(self, path: str, dress: Dress) -> None:
        """Set owner, group and mode."""
        ...

    def set_aside(self, path: str) -> None:
        """Rename a file to NAME.before-eqmail, readable by its owner only."""
        ...

    def remove(self, path: str) -> None:
        """Remove an empty directory."""
        ...

    def unlink(self, path: str) -> None:
        """Remove a file, a link or a named pipe; one that is gone already is fine."""
        ...

    def discard(self, path: str) -> None:
        """Remove a directory with everything in it, following no link."""
        ...

    def link(self, path: str, target: str) -> None:
        """Put a symbolic link in place."""
        ...

    def discard_unfinished(self, path: str) -> None:
        """Remove what a broken `write` or `link` left beside a path."""
        ...

    def finish(self) -> None:
        """Put the entries of every changed folder on the disk, after the last change."""
        ...


def state_of(path: str, world: World, itself: bool = False) -> State | None:
    """What lies at a path, link or not.

    A directory that the administrator put elsewhere is the directory; a link to one is a link where `itself` is asked.
    """
    target = world.target(path) if path else None
    seen = world.look(path)
    if target is not None and (itself or seen is None or seen.kind != "a directory"):
        return State(LINK, NO_DRESS, os.fsencode(target))
    if seen is None:
        return None
    return State(seen.kind, seen.dress, world.read(path) if seen.kind == "a file" else b"")
