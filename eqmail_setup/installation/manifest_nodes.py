"""What an installation consists of, as values: the nodes of which `hierarchy` makes its table.

Paths are relative to the home, without a slash at either end; "" is the home itself. Owners and groups are names.
"""

from enum import Enum
from typing import NamedTuple


class PathKind(Enum):
    """What lies at a path."""

    DIRECTORY = "directory"
    FILE = "file"
    FIFO = "named pipe"
    SYMLINK = "symbolic link"
    UNTRUSTED_LINK = "untrusted symbolic link"
    SPECIAL = "special file"

    def __str__(self) -> str:
        return self.value


class Permissions(NamedTuple):
    """Who owns a thing and what may be done with it."""

    owner: str
    group: str
    mode: int

    def __str__(self) -> str:
        return f"{self.owner}:{self.group} {self.mode:04o}"


class DirectorySpec(NamedTuple):
    """A directory; with `split`, it holds the directories 0 to split-1 in the same dress, and no other numbers."""

    path: str
    permissions: Permissions
    split: int = 0


class ManagedFileSpec(NamedTuple):
    """A file that setup writes with a checksum; it is replaced while the checksum matches, and kept once edited.

    What needs no flush of its own, because it can be made again, is on the disk when the run ends.
    """

    path: str
    permissions: Permissions
    content: bytes
    flush: bool = True


class ExactFileSpec(NamedTuple):
    """A file that belongs to setup alone and always has exactly this content."""

    path: str
    permissions: Permissions
    content: bytes


class PreallocatedFileSpec(NamedTuple):
    """A file that begins as zeros and keeps its size unless it `grows`; the running system writes its content."""

    path: str
    permissions: Permissions
    size: int
    grows: bool = False


class FifoSpec(NamedTuple):
    """A named pipe."""

    path: str
    permissions: Permissions


class BytecodeSpec(NamedTuple):
    """The byte code of the suite's own modules, so that no program has to compile when it starts."""

    folder: str


NodeSpec = DirectorySpec | ManagedFileSpec | ExactFileSpec | PreallocatedFileSpec | FifoSpec | BytecodeSpec


def folders_above(path: str) -> list[str]:
    """The folders above an absolute path, the outermost first, without the root."""
    parts = path.split("/")[1:-1]
    return ["/" + "/".join(parts[: number + 1]) for number in range(len(parts))]
