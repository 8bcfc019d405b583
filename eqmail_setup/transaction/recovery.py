"""Undoing: a run that broke off, at once and by itself; a run that was done, when the administrator asks for it."""

import errno
from collections.abc import Iterator

from eqmail_setup.errors import Refusal
from eqmail_setup.transaction.filesystem import Distrusted, World
from eqmail_setup.transaction.history import BROKEN, History, Run, Step
from eqmail_setup.transaction.plan import Difference, Weight

_MOVED = (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT)


def mend(history: History, world: World) -> list[str]:
    """Undo every run that broke off; one line for each, and one for each path that somebody has edited since.

    Where a path leads elsewhere now, or something else lies in the way, it counts as edited.
    Harmless when it breaks off itself: the run is still on record, and what was put back is found to be so.
    """
    lines = []
    for run in reversed(history.broken()):
        lines.append(f"run {run.number} ({run.command}) had broken off; what it changed is undone")
        for step in reversed(run.steps):
            try:
                lines += _take_back(history, step, world)
            except OSError as error:
                if not _was_moved_meanwhile(error):
                    raise
                lines.append(f"{world.show(step.path)}: {error.strerror}: changed since, left as it is")
        world.finish()
        history.write(run.with_state(BROKEN))
    return lines


def _was_moved_meanwhile(error: OSError) -> bool:
    """Whether somebody has put something else in the way, who may do that for ever: it must not block every command."""
    return isinstance(error, Distrusted) or error.errno in _MOVED


def _take_back(history: History, step: Step, world: World) -> Iterator[str]:
    if _folder_exists(step.path, world):
        world.discard_unfinished(step.path)
    now = step.now(world)
    ours = now is None or any(now.is_like(known) for known in (step.before, step.after))
    if not ours or (step.before is None and now and now.kind == "a directory" and world.names(step.path)):
        yield f"{world.show(step.path)}: changed since, left as it is"
        return
    for action in history.restoring(step, world):
        action.perform(world)


def _folder_exists(path: str, world: World) -> bool:
    folder, slash, _ = path.rpartition("/")
    seen = world.look(folder or slash)
    return seen is not None and seen.kind == "a directory"


def undoing(history: History, run: Run, world: World, force: bool) -> list[Difference]:
    """What has to be done to put back what was there before a run.

    Fails: Refusal, unless forced, where something was changed since.
    """
    removed: set[str] = set()
    found = []
    for step in reversed(run.steps):
        now = step.now(world)
        if now == step.before:
            continue
        show = world.show(step.path)
        full = _filled(step, world, removed)
        if not force and (now != step.after or full):
            what = f"holds {full}" if full else "changed"
            raise Refusal(f"{show}: {what} since run {run.number}; --force takes the run back nevertheless")
        if full:
            found.append(Difference(show, f"holds {full}", "as it is", weight=Weight.KEPT))
            continue
        for action in history.restoring(step, world):
            removed |= {step.path} if step.before is None else set()
            found.append(Difference(show, f"as run {run.number} left it", "as it was before", action))
    return found


def _filled(step: Step, world: World, removed: set[str]) -> str:
    """What lies in a directory that has to go, and would not go before it; "" for nothing."""
    seen = world.look(step.path)
    if step.before is not None or seen is None or seen.kind != "a directory" or seen.linked:
        return ""
    names = [name for name in world.names(step.path) if f"{step.path}/{name}" not in removed]
    return ", ".join(names[:3])
