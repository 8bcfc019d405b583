"""What setup can do to an installation: each action is a value with a sentence, and harmless when done twice.

`leaves` foretells the paths that an action changes, with what will lie there; so a run can be written down before it.
A `final` one is confirmed on a terminal first, because it cannot be rolled back.
"""

import os
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple, Protocol, runtime_checkable

from eqmail_setup.installation.bytecode import compile_folder
from eqmail_setup.installation.manifest_nodes import PathKind, Permissions
from eqmail_setup.transaction.filesystem import (
    BACKUP_SUFFIX,
    NO_PERMISSIONS,
    Filesystem,
    PathSnapshot,
    snapshot,
)

PredictedChanges = Iterator[tuple[str, PathSnapshot | None]]


class Verb(Enum):
    """What an operation does: in the imperative, and when it is done."""

    CREATE = ("create", "created")
    WRITE = ("write", "wrote")
    SET = ("set", "set")
    REMOVE = ("remove", "removed")
    LINK = ("link", "linked")
    COMPILE = ("compile", "compiled")
    COPY = ("copy", "copied")
    MOVE = ("move", "moved")
    REPAIR = ("repair", "repaired")
    RUN = ("run", "ran")


class Description(NamedTuple):
    """An operation in words: `verb` `what` at `path`, with a detail in parentheses."""

    verb: Verb
    what: str
    path: str
    detail: str = ""

    @property
    def planned(self) -> str:
        """The sentence of a dry run."""
        return f"Would {self.command}"

    @property
    def done(self) -> str:
        """The sentence of a report."""
        past = self.verb.value[1]
        return f"{past.capitalize()} {self.object}"

    @property
    def command(self) -> str:
        """The sentence of an error."""
        return f"{self.verb.value[0]} {self.object}"

    @property
    def object(self) -> str:
        """What it is done to."""
        return " ".join(filter(None, (self.what, self.path, f"({self.detail})" if self.detail else "")))


class Operation(Protocol):
    """What every action can say and do; a value, which may be compared and hashed."""

    def describe(self, filesystem: Filesystem) -> Description:
        """What it does, in words."""
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
    kind: PathKind
    permissions: Permissions

    def describe(self, filesystem: Filesystem) -> Description:
        """What this does."""
        return Description(Verb.CREATE, self.kind.value, filesystem.display_path(self.path), str(self.permissions))

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

    def describe(self, filesystem: Filesystem) -> Description:
        """What this does."""
        path = filesystem.display_path(self.path)
        backup = f", backup {path}{BACKUP_SUFFIX}" if self.keeps_backup else ""
        return Description(Verb.WRITE, "", path, f"{self.permissions}, {len(self.content)} bytes{backup}")

    def predicted_changes(self, filesystem: Filesystem) -> PredictedChanges:
        """What it leaves behind."""
        if self.keeps_backup:
            old = snapshot(self.path, filesystem)
            yield self.path + BACKUP_SUFFIX, old and old._replace(permissions=old.permissions._replace(mode=0o600))
        yield self.path, PathSnapshot(PathKind.FILE, self.permissions, self.content)

    def apply(self, filesystem: Filesystem) -> None:
        """Do it."""
        if self.keeps_backup:
            filesystem.back_up(self.path)
        filesystem.write(self.path, self.content, self.permissions, self.flush)


class SetPermissions(NamedTuple):
    """Set owner, group and mode."""

    path: str
    permissions: Permissions

    def describe(self, filesystem: Filesystem) -> Description:
        """What this does."""
        return Description(Verb.SET, "permissions of", filesystem.display_path(self.path), str(self.permissions))

    def predicted_changes(self, filesystem: Filesystem) -> PredictedChanges:
        """What it leaves behind."""
        old = snapshot(self.path, filesystem)
        yield self.path, old and (old if old.kind == PathKind.SYMLINK else old._replace(permissions=self.permissions))

    def apply(self, filesystem: Filesystem) -> None:
        """Do it."""
        filesystem.set_permissions(self.path, self.permissions)


class RemoveDirectory(NamedTuple):
    """Remove an empty directory."""

    path: str

    def describe(self, filesystem: Filesystem) -> Description:
        """What this does."""
        return Description(Verb.REMOVE, "empty directory", filesystem.display_path(self.path))

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

    def describe(self, filesystem: Filesystem) -> Description:
        """What this does."""
        return Description(Verb.COMPILE, f"byte code of {self.modules} modules in", self.path)

    def predicted_changes(self, filesystem: Filesystem) -> PredictedChanges:
        """Nothing to restore."""
        yield from ()

    def apply(self, filesystem: Filesystem) -> None:
        """Do it."""
        compile_folder(self.path)


class RemoveFile(NamedTuple):
    """Remove a file, a link or a named pipe."""

    path: str

    def describe(self, filesystem: Filesystem) -> Description:
        """What this does."""
        return Description(Verb.REMOVE, "", filesystem.display_path(self.path))

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

    def describe(self, filesystem: Filesystem) -> Description:
        """What this does."""
        return Description(Verb.LINK, "", filesystem.display_path(self.path), f"to {self.target}")

    def predicted_changes(self, filesystem: Filesystem) -> PredictedChanges:
        """What it leaves behind."""
        yield self.path, PathSnapshot(PathKind.SYMLINK, NO_PERMISSIONS, os.fsencode(self.target))

    def apply(self, filesystem: Filesystem) -> None:
        """Do it."""
        filesystem.create_symlink(self.path, self.target)


class RemoveTree(NamedTuple):
    """Remove a directory with everything in it; what was in it cannot be put back."""

    path: str

    def describe(self, filesystem: Filesystem) -> Description:
        """What this does."""
        return Description(Verb.REMOVE, "", filesystem.display_path(self.path), "with everything in it, permanently")

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
