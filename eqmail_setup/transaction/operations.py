"""What setup can do to an installation: each action is a value with a sentence, and harmless when done twice.

`leaves` foretells the paths that an action changes, with what will lie there; so a run can be written down before it.
A `final` one is confirmed on a terminal first, because it cannot be rolled back.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

from eqmail_setup.installation.bytecode import compile_folder
from eqmail_setup.installation.manifest_nodes import Permissions
from eqmail_setup.transaction.filesystem import (
    BACKUP_SUFFIX,
    NO_PERMISSIONS,
    SYMLINK,
    Filesystem,
    PathSnapshot,
    snapshot,
)

PredictedChanges = Iterator[tuple[str, PathSnapshot | None]]


class Operation(Protocol):
    """What every action can say and do; a value, which may be compared and hashed."""

    def describe(self, filesystem: Filesystem) -> str:
        """What it does, in the imperative."""
        ...

    def predicted_changes(self, filesystem: Filesystem) -> PredictedChanges:
        """Each path that it changes, with what will lie there."""
        ...

    def apply(self, filesystem: Filesystem) -> None:
        """Do it."""
        ...


@runtime_checkable
class IrreversibleOperation(Protocol):
    """An action that may change what cannot be put back."""

    def irreversible_effect(self) -> bool:
        """Whether it does."""
        ...


class CreateNode(NamedTuple):
    """Make a directory or a named pipe."""

    path: str
    kind: str
    permissions: Permissions

    def describe(self, filesystem: Filesystem) -> str:
        """What this does."""
        return f"make {self.kind} {filesystem.display_path(self.path)} ({self.permissions})"

    def predicted_changes(self, filesystem: Filesystem) -> PredictedChanges:
        """What it leaves behind."""
        yield self.path, PathSnapshot(self.kind, self.permissions)

    def apply(self, filesystem: Filesystem) -> None:
        """Do it."""
        filesystem.create(self.path, self.kind, self.permissions)


class WriteFile(NamedTuple):
    """Put a file in place as a whole."""

    path: str
    content: bytes
    permissions: Permissions
    keeps_backup: bool = False
    flush: bool = True

    def describe(self, filesystem: Filesystem) -> str:
        """What this does."""
        path = filesystem.display_path(self.path)
        kept = f", the present file becomes {path}.before-eqmail" if self.keeps_backup else ""
        return f"write {path} ({self.permissions}, {len(self.content)} bytes){kept}"

    def predicted_changes(self, filesystem: Filesystem) -> PredictedChanges:
        """What it leaves behind."""
        if self.keeps_backup:
            old = snapshot(self.path, filesystem)
            yield self.path + BACKUP_SUFFIX, old and old._replace(permissions=old.permissions._replace(mode=0o600))
        yield self.path, PathSnapshot("a file", self.permissions, self.content)

    def apply(self, filesystem: Filesystem) -> None:
        """Do it."""
        if self.keeps_backup:
            filesystem.back_up(self.path)
        filesystem.write(self.path, self.content, self.permissions, self.flush)


class SetPermissions(NamedTuple):
    """Set owner, group and mode."""

    path: str
    permissions: Permissions

    def describe(self, filesystem: Filesystem) -> str:
        """What this does."""
        owner, group, mode = self.permissions.owner, self.permissions.group, self.permissions.mode
        return f"give {filesystem.display_path(self.path)} to {owner}:{group} with mode {mode:04o}"

    def predicted_changes(self, filesystem: Filesystem) -> PredictedChanges:
        """What it leaves behind."""
        old = snapshot(self.path, filesystem)
        yield self.path, old and (old if old.kind == SYMLINK else old._replace(permissions=self.permissions))

    def apply(self, filesystem: Filesystem) -> None:
        """Do it."""
        filesystem.set_permissions(self.path, self.permissions)


class RemoveDirectory(NamedTuple):
    """Remove an empty directory."""

    path: str

    def describe(self, filesystem: Filesystem) -> str:
        """What this does."""
        return f"remove the empty directory {filesystem.display_path(self.path)}"

    def predicted_changes(self, filesystem: Filesystem) -> PredictedChanges:
        """Nothing."""
        yield self.path, None

    def apply(self, filesystem: Filesystem) -> None:
        """Do it."""
        filesystem.remove_directory(self.path)


class CompileBytecode(NamedTuple):
    """Compile a folder of the suite's own modules."""

    path: str
    modules: int

    def describe(self, filesystem: Filesystem) -> str:
        """What this does."""
        return f"byte-compile {self.modules} modules in {self.path}"

    def predicted_changes(self, filesystem: Filesystem) -> PredictedChanges:
        """Nothing to restore."""
        yield from ()

    def apply(self, filesystem: Filesystem) -> None:
        """Do it."""
        compile_folder(self.path)


class RemoveFile(NamedTuple):
    """Remove a file, a link or a named pipe."""

    path: str

    def describe(self, filesystem: Filesystem) -> str:
        """What this does."""
        return f"remove {filesystem.display_path(self.path)}"

    def predicted_changes(self, filesystem: Filesystem) -> PredictedChanges:
        """Nothing."""
        yield self.path, None

    def apply(self, filesystem: Filesystem) -> None:
        """Do it."""
        filesystem.remove_file(self.path)


class CreateSymlink(NamedTuple):
    """Put a symbolic link in place."""

    path: str
    target: str

    def describe(self, filesystem: Filesystem) -> str:
        """What this does."""
        return f"link {filesystem.display_path(self.path)} to {self.target}"

    def predicted_changes(self, filesystem: Filesystem) -> PredictedChanges:
        """What it leaves behind."""
        yield self.path, PathSnapshot(SYMLINK, NO_PERMISSIONS, os.fsencode(self.target))

    def apply(self, filesystem: Filesystem) -> None:
        """Do it."""
        filesystem.create_symlink(self.path, self.target)


class RemoveTree(NamedTuple):
    """Remove a directory with everything in it; what was in it cannot be put back."""

    path: str

    def describe(self, filesystem: Filesystem) -> str:
        """What this does."""
        return f"remove {filesystem.display_path(self.path)} with everything in it, for good"

    def irreversible_effect(self) -> bool:
        """Whether it cannot be undone."""
        return True

    def predicted_changes(self, filesystem: Filesystem) -> PredictedChanges:
        """Nothing."""
        yield self.path, None

    def apply(self, filesystem: Filesystem) -> None:
        """Do it."""
        filesystem.remove_tree(self.path)


def is_irreversible(action: Operation) -> bool:
    """Whether what an action changes cannot be put back."""
    return isinstance(action, IrreversibleOperation) and action.irreversible_effect()
