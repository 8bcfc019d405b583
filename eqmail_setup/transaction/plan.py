"""The one engine behind `setup` and `check`: compare every node of a manifest, name each difference, plan its repair.

`observe` only looks. What it returns is printed by `check`, and by `setup --dry-run`; `setup` performs the actions in
this order. After that, `observe` returns nothing more that has an action.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from eqmail_setup.errors import EqmailError, Severity
from eqmail_setup.installation.bytecode import stale_modules
from eqmail_setup.installation.managed_file import Origin, origin_of
from eqmail_setup.installation.manifest_nodes import (
    BytecodeSpec,
    DirectorySpec,
    ExactFileSpec,
    FifoSpec,
    ManagedFileSpec,
    NodeSpec,
    PathKind,
    Permissions,
    PreallocatedFileSpec,
)
from eqmail_setup.transaction.filesystem import Filesystem, PathInfo
from eqmail_setup.transaction.operations import (
    CompileBytecode,
    CreateNode,
    Operation,
    RemoveDirectory,
    SetPermissions,
    WriteFile,
)

SEVERITY_WORDS = {Severity.ERROR: "expected", Severity.WARNING: "kept", Severity.INFO: "better"}


class Topic(Enum):
    """The part of a report of a migration that a change without an operation belongs to."""

    SOURCE = "source"
    RENAMED = "renamed"
    REVIEW = "review"
    UNSUPPORTED = "unsupported"
    UNCHANGED = "unchanged"


class Change(NamedTuple):
    """One difference from the expected state. `action` repairs it; without one, the administrator has to act.

    An intended change of the administrator is a WARNING: reported, but neither repaired nor counted. So is INFO.
    """

    path: str
    found: str
    expected: str
    operation: Operation | None = None
    severity: Severity = Severity.ERROR
    topic: Topic | None = None

    def line(self) -> str:
        """The difference in one line."""
        return f"{self.path}: {self.found}, {SEVERITY_WORDS[self.severity]} {self.expected}"


class Plan(NamedTuple):
    """What a command is about to do: `changes` have an operation, `notes` are for people, `blockers` forbid it all."""

    changes: list[Change]
    notes: list[Change]
    blockers: list[Change]

    @classmethod
    def of(cls, items: Iterable[Change]) -> "Plan":
        """The plan of what was found; what has no operation is a note, or a blocker where it is an error."""
        plan = cls([], [], [])
        for item in items:
            if item.operation is not None:
                plan.changes.append(item)
            elif item.severity is Severity.ERROR:
                plan.blockers.append(item)
            else:
                plan.notes.append(item)
        return plan

    @property
    def operations(self) -> list[Operation]:
        """Each operation once, in order."""
        return list(dict.fromkeys(item.operation for item in self.changes if item.operation))

    def require_possible(self) -> None:
        """Refuse a plan with blockers.

        Fails: EqmailError with the first of them.
        """
        if self.blockers:
            raise EqmailError(self.blockers[0].line())


def compare_with_manifest(nodes: Iterable[NodeSpec], filesystem: Filesystem) -> list[Change]:
    """Compare every node with what is there."""
    return [difference for node in nodes for difference in _COMPARISONS[type(node)](node, filesystem)]


def apply_changes(changes: Iterable[Change], filesystem: Filesystem, on_operation: Callable[[Operation], None]) -> int:
    """Perform the actions in order, each once, reporting each; their number.

    Fails: Refusal at the first one that the system refuses, or that lacks an account.
    """
    done: list[Operation] = []
    for difference in changes:
        action = difference.operation
        if action is None or action in done[-1:]:
            continue
        on_operation(action)
        try:
            action.apply(filesystem)
        except OSError as error:
            raise EqmailError(f"cannot {action.describe(filesystem).command}: {error.strerror or error}") from error
        except KeyError as error:
            raise EqmailError(f"cannot {action.describe(filesystem).command}: {error.args[0]}") from error
        done.append(action)
    return len(done)


def _compare_directory(node: DirectorySpec, filesystem: Filesystem) -> Iterator[Change]:
    yield from _compare_created(node.path, PathKind.DIRECTORY, node.permissions, filesystem)
    if not node.split:
        return
    for number in range(node.split):
        yield from _compare_created(f"{node.path}/{number}", PathKind.DIRECTORY, node.permissions, filesystem)
    seen = filesystem.stat(node.path)
    if seen is None or seen.kind != PathKind.DIRECTORY:
        return
    for name in filesystem.listdir(node.path):
        if name.isdigit() and int(name) >= node.split:
            path = f"{node.path}/{name}"
            inside = filesystem.stat(path)
            if inside is not None and inside.kind == PathKind.DIRECTORY:
                yield Change(
                    filesystem.display_path(path), "directory beyond the split", "absent", RemoveDirectory(path)
                )


def _compare_fifo(node: FifoSpec, filesystem: Filesystem) -> Iterator[Change]:
    return _compare_created(node.path, PathKind.FIFO, node.permissions, filesystem)


def _compare_created(path: str, kind: PathKind, permissions: Permissions, filesystem: Filesystem) -> Iterator[Change]:
    seen = filesystem.stat(path)
    if seen is None:
        yield Change(
            filesystem.display_path(path), "missing", f"{kind} ({permissions})", CreateNode(path, kind, permissions)
        )
    elif seen.kind != kind:
        yield Change(filesystem.display_path(path), str(seen.kind), f"{kind}; move it away and run setup again")
    else:
        yield from _compare_permissions(path, permissions, seen, filesystem)


def _compare_permissions(
    path: str, permissions: Permissions, seen: PathInfo, filesystem: Filesystem
) -> Iterator[Change]:
    show, give = filesystem.display_path(path), SetPermissions(path, permissions)
    if seen.permissions.owner != permissions.owner:
        yield Change(show, f"owner {seen.permissions.owner}", permissions.owner, give)
    if seen.permissions.group != permissions.group:
        yield Change(show, f"group {seen.permissions.group}", permissions.group, give)
    if seen.permissions.mode != permissions.mode:
        yield Change(show, f"mode {seen.permissions.mode:04o}", f"{permissions.mode:04o}", give)


def _compare_file(
    path: str, content: bytes, permissions: Permissions, filesystem: Filesystem, flush: bool = True
) -> Iterator[Change | PathInfo]:
    """The differences that every kind of file shares; the Seen of a file whose content is worth a look."""
    seen = filesystem.stat(path)
    if seen is None:
        yield Change(
            filesystem.display_path(path),
            "missing",
            f"file ({permissions})",
            WriteFile(path, content, permissions, flush=flush),
        )
    elif seen.kind != PathKind.FILE:
        yield Change(filesystem.display_path(path), str(seen.kind), "file; move it away and run setup again")
    else:
        yield seen


def _compare_exact_file(node: ExactFileSpec, filesystem: Filesystem) -> Iterator[Change]:
    for found in _compare_file(node.path, node.content, node.permissions, filesystem):
        if isinstance(found, Change):
            yield found
        elif filesystem.read(node.path) != node.content:
            write = WriteFile(node.path, node.content, node.permissions)
            yield Change(filesystem.display_path(node.path), "other build settings", "the present ones", write)
        else:
            yield from _compare_permissions(node.path, node.permissions, found, filesystem)


def _compare_preallocated(node: PreallocatedFileSpec, filesystem: Filesystem) -> Iterator[Change]:
    for found in _compare_file(node.path, bytes(node.size), node.permissions, filesystem):
        if isinstance(found, Change):
            yield found
        elif found.size != node.size and not node.grows:
            write = WriteFile(node.path, bytes(node.size), node.permissions)
            yield Change(filesystem.display_path(node.path), f"{found.size} bytes", f"{node.size} bytes", write)
        else:
            yield from _compare_permissions(node.path, node.permissions, found, filesystem)


def _compare_managed_file(node: ManagedFileSpec, filesystem: Filesystem) -> Iterator[Change]:
    show = filesystem.display_path(node.path)
    for found in _compare_file(node.path, node.content, node.permissions, filesystem, node.flush):
        if isinstance(found, Change):
            yield found
            continue
        if found.linked:
            yield Change(show, "symbolic link", "as it is: not made by setup", severity=Severity.WARNING)
            continue
        content = filesystem.read(node.path)
        if content == node.content:
            yield from _compare_permissions(node.path, node.permissions, found, filesystem)
            continue
        origin = origin_of(content)
        if origin is Origin.MANAGED:
            write = WriteFile(node.path, node.content, node.permissions, flush=node.flush)
            yield Change(show, "written for other build settings or another interpreter", "the present ones", write)
        elif origin is Origin.BINARY:
            write = WriteFile(node.path, node.content, node.permissions, keeps_backup=True)
            yield Change(show, "program of another mail system", "the program of eQmail", write)
        else:
            edited = "locally modified" if origin is Origin.EDITED else "not written by setup"
            expected = "as it is; move it away and run setup again to replace it"
            yield Change(show, edited, expected, severity=Severity.WARNING)


def _compare_bytecode(node: BytecodeSpec, filesystem: Filesystem) -> Iterator[Change]:
    stale = stale_modules(node.folder)
    if not stale:
        return
    found = f"{len(stale)} modules without byte code"
    if os.geteuid() in (0, os.stat(node.folder).st_uid):
        yield Change(node.folder, found, "compiled", CompileBytecode(node.folder, len(stale)))
    else:
        yield Change(node.folder, found, "compiled: setup does it for the owner", severity=Severity.INFO)


_COMPARISONS: dict[type, Callable[..., Iterator[Change]]] = {
    DirectorySpec: _compare_directory,
    ManagedFileSpec: _compare_managed_file,
    ExactFileSpec: _compare_exact_file,
    PreallocatedFileSpec: _compare_preallocated,
    FifoSpec: _compare_fifo,
    BytecodeSpec: _compare_bytecode,
}
