"""Undoing: a run that broke off, at once and by itself; a run that was done, when the administrator asks for it."""

import errno
from collections.abc import Iterator

from eqmail_setup.errors import EqmailError, Severity
from eqmail_setup.installation.manifest_nodes import PathKind
from eqmail_setup.transaction.filesystem import Filesystem, UntrustedPathError
from eqmail_setup.transaction.history import History, PathChange, TransactionRecord, TransactionState
from eqmail_setup.transaction.plan import Change

_MOVED = (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT)


def recover_interrupted(history: History, filesystem: Filesystem) -> list[str]:
    """Undo every interrupted run; a line for each, and one for each path that was edited since.

    Where a path leads elsewhere now, or something else lies in the way, it counts as edited.
    Harmless when it breaks off itself: the run is still on record, and what was put back is found to be so.
    """
    lines = []
    for run in reversed(history.interrupted()):
        lines.append(f"transaction {run.number} ({run.command}) was interrupted; its changes are undone")
        for step in reversed(run.changes):
            try:
                lines += _restore(history, step, filesystem)
            except OSError as error:
                if not _was_moved_meanwhile(error):
                    raise
                lines.append(f"{filesystem.display_path(step.path)}: {error.strerror}: changed since, not restored")
        filesystem.sync()
        history.write(run.with_state(TransactionState.ABORTED))
    return lines


def _was_moved_meanwhile(error: OSError) -> bool:
    """Whether another account put an obstacle there; since that can be repeated, it must not block every command."""
    return isinstance(error, UntrustedPathError) or error.errno in _MOVED


def _restore(history: History, step: PathChange, filesystem: Filesystem) -> Iterator[str]:
    if _folder_exists(step.path, filesystem):
        filesystem.remove_partial(step.path)
    now = step.current(filesystem)
    ours = now is None or any(now.matches(known) for known in (step.before, step.after))
    if not ours or (step.before is None and now and now.kind == PathKind.DIRECTORY and filesystem.listdir(step.path)):
        yield f"{filesystem.display_path(step.path)}: changed since, not restored"
        return
    for action in history.restore_operations(step, filesystem):
        action.apply(filesystem)


def _folder_exists(path: str, filesystem: Filesystem) -> bool:
    folder, slash, _ = path.rpartition("/")
    seen = filesystem.stat(folder or slash)
    return seen is not None and seen.kind == PathKind.DIRECTORY


def plan_rollback(
    history: History, run: TransactionRecord, filesystem: Filesystem, force: bool, keep_folders: bool = False
) -> list[Change]:
    """Actions that restore the state before a transaction.

    `keep_folders`: a folder that holds something else now, such as logs, stays without a refusal.

    Fails: EqmailError, unless forced, where something was changed since.
    """
    removed: set[str] = set()
    found = []
    for step in reversed(run.changes):
        now = step.current(filesystem)
        if now == step.before:
            continue
        show = filesystem.display_path(step.path)
        full = _has_content(step, filesystem, removed)
        if not force and (now != step.after or (full and not keep_folders)):
            what = f"holds {full}" if full else "changed"
            text = f"{show}: {what} since transaction {run.number}; --force undoes it nevertheless"
            raise EqmailError(text)
        if full:
            found.append(Change(show, f"directory not removed: holds {full}", "as it is", severity=Severity.WARNING))
            continue
        for action in history.restore_operations(step, filesystem):
            removed |= {step.path} if step.before is None else set()
            found.append(Change(show, f"as transaction {run.number} left it", "the state before", action))
    return found


def _has_content(step: PathChange, filesystem: Filesystem, removed: set[str]) -> str:
    """What lies in a directory that has to go, and would not go before it; "" for nothing."""
    seen = filesystem.stat(step.path)
    if step.before is not None or seen is None or seen.kind != PathKind.DIRECTORY or seen.linked:
        return ""
    names = [name for name in filesystem.listdir(step.path) if f"{step.path}/{name}" not in removed]
    return ", ".join(names[:3])
