"""What setup can see and do below one home: the port between the plan and the disk.

`disk_world.RealWorld` is the file system itself, `recorded_world.RecordedWorld` a staged home without owners.
"""

from typing import NamedTuple, Protocol

from eqmail_setup.tree import Dress


class Distrusted(OSError):
    """A symbolic link, or a second name, that somebody without the right to it made."""


class Seen(NamedTuple):
    """What lies at a path. `linked`: it was reached through a symbolic link of the administrator."""

    kind: str
    dress: Dress
    size: int
    linked: bool


class World(Protocol):
    """What setup can see and do below one home. Paths are relative to the home."""

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

    def make(self, path: str, kind: str, dress: Dress) -> None:
        """Make a directory or a named pipe."""
        ...

    def write(self, path: str, content: bytes, dress: Dress) -> None:
        """Put a file in place as a whole."""
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
