"""The one engine behind `setup` and `check`: look at every node of a table, name each difference, know what mends it.

`observe` only looks. What it returns is printed by `check`, and by `setup --dry-run`; `setup` performs the actions in
this order. After that, `observe` returns nothing more that has an action.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from eqmail_setup.errors import Refusal
from eqmail_setup.installation.bytecode import stale_modules
from eqmail_setup.installation.managed_file import Origin, origin_of
from eqmail_setup.installation.manifest_nodes import Compiled, Directory, Dress, Fifo, Generated, Node, Settled, Zeroed
from eqmail_setup.transaction.filesystem import Seen, World
from eqmail_setup.transaction.operations import Action, Compile, Give, Make, Remove, Write


class Weight(Enum):
    """How a difference counts, with the word that leads to what it should be."""

    WRONG = "should be"
    KEPT = "kept"
    ADVICE = "better"


class Difference(NamedTuple):
    """One thing that is not as it should be. `action` mends it; without one, a person has to look.

    What an administrator changed on purpose is KEPT: said, but neither mended nor counted as wrong. So is ADVICE.
    """

    path: str
    found: str
    wanted: str
    action: Action | None = None
    weight: Weight = Weight.WRONG

    def line(self) -> str:
        """The difference in one line."""
        return f"{self.path}: {self.found}, {self.weight.value} {self.wanted}"


def observe(nodes: Iterable[Node], world: World) -> list[Difference]:
    """Compare every node with what is there."""
    return [difference for node in nodes for difference in _READERS[type(node)](node, world)]


def apply(differences: Iterable[Difference], world: World, tell: Callable[[Action], None]) -> int:
    """Perform the actions in order, each once, telling of each one; their number.

    Fails: Refusal at the first one that the system refuses, or that lacks an account.
    """
    done: list[Action] = []
    for difference in differences:
        action = difference.action
        if action is None or action in done[-1:]:
            continue
        tell(action)
        try:
            action.perform(world)
        except OSError as error:
            raise Refusal(f"cannot {action.sentence(world)}: {error.strerror or error}") from error
        except KeyError as error:
            raise Refusal(f"cannot {action.sentence(world)}: {error.args[0]}") from error
        done.append(action)
    return len(done)


def _directory(node: Directory, world: World) -> Iterator[Difference]:
    yield from _made(node.path, "a directory", node.dress, world)
    if not node.split:
        return
    for number in range(node.split):
        yield from _made(f"{node.path}/{number}", "a directory", node.dress, world)
    seen = world.look(node.path)
    if seen is None or seen.kind != "a directory":
        return
    for name in world.names(node.path):
        if name.isdigit() and int(name) >= node.split:
            path = f"{node.path}/{name}"
            inside = world.look(path)
            if inside is not None and inside.kind == "a directory":
                yield Difference(world.show(path), "a directory beyond the split", "absent", Remove(path))


def _fifo(node: Fifo, world: World) -> Iterator[Difference]:
    return _made(node.path, "a named pipe", node.dress, world)


def _made(path: str, kind: str, dress: Dress, world: World) -> Iterator[Difference]:
    seen = world.look(path)
    if seen is None:
        yield Difference(world.show(path), "missing", f"{kind} ({dress})", Make(path, kind, dress))
    elif seen.kind != kind:
        yield Difference(world.show(path), seen.kind, f"{kind}; move it away and run setup again")
    else:
        yield from _dressed(path, dress, seen, world)


def _dressed(path: str, dress: Dress, seen: Seen, world: World) -> Iterator[Difference]:
    show, give = world.show(path), Give(path, dress)
    if seen.dress.owner != dress.owner:
        yield Difference(show, f"owner {seen.dress.owner}", dress.owner, give)
    if seen.dress.group != dress.group:
        yield Difference(show, f"group {seen.dress.group}", dress.group, give)
    if seen.dress.mode != dress.mode:
        yield Difference(show, f"mode {seen.dress.mode:04o}", f"{dress.mode:04o}", give)


def _file(path: str, content: bytes, dress: Dress, world: World, flush: bool = True) -> Iterator[Difference | Seen]:
    """The differences that every kind of file shares; the Seen of a file whose content is worth a look."""
    seen = world.look(path)
    if seen is None:
        yield Difference(world.show(path), "missing", f"a file ({dress})", Write(path, content, dress, flush=flush))
    elif seen.kind != "a file":
        yield Difference(world.show(path), seen.kind, "a file; move it away and run setup again")
    else:
        yield seen


def _settled(node: Settled, world: World) -> Iterator[Difference]:
    for found in _file(node.path, node.content, node.dress, world):
        if isinstance(found, Difference):
            yield found
        elif world.read(node.path) != node.content:
            write = Write(node.path, node.content, node.dress)
            yield Difference(world.show(node.path), "other choices", "what was chosen now", write)
        else:
            yield from _dressed(node.path, node.dress, found, world)


def _zeroed(node: Zeroed, world: World) -> Iterator[Difference]:
    for found in _file(node.path, bytes(node.size), node.dress, world):
        if isinstance(found, Difference):
            yield found
        elif found.size != node.size:
            write = Write(node.path, bytes(node.size), node.dress)
            yield Difference(world.show(node.path), f"{found.size} bytes", f"{node.size} bytes", write)
        else:
            yield from _dressed(node.path, node.dress, found, world)


def _generated(node: Generated, world: World) -> Iterator[Difference]:
    show = world.show(node.path)
    for found in _file(node.path, node.content, node.dress, world, node.flush):
        if isinstance(found, Difference):
            yield found
            continue
        if found.linked:
            yield Difference(show, "a symbolic link", "as it is: not made by setup", weight=Weight.KEPT)
            continue
        content = world.read(node.path)
        if content == node.content:
            yield from _dressed(node.path, node.dress, found, world)
            continue
        origin = origin_of(content)
        if origin is Origin.OURS:
            write = Write(node.path, node.content, node.dress, flush=node.flush)
            yield Difference(show, "written by setup for other choices or another interpreter", "renewed", write)
        elif origin is Origin.BINARY:
            write = Write(node.path, node.content, node.dress, aside=True)
            yield Difference(show, "a program of another mail system", "eqmail's", write)
        else:
            edited = "edited by hand" if origin is Origin.EDITED else "not written by setup"
            wanted = "as it is; to have eqmail's, move it away and run setup again"
            yield Difference(show, edited, wanted, weight=Weight.KEPT)


def _compiled(node: Compiled, world: World) -> Iterator[Difference]:
    stale = stale_modules(node.folder)
    if not stale:
        return
    found = f"{len(stale)} modules without readable byte code"
    if os.geteuid() in (0, os.stat(node.folder).st_uid):
        yield Difference(node.folder, found, "compiled", Compile(node.folder, len(stale)))
    else:
        yield Difference(node.folder, found, "compiled: setup does it for the owner", weight=Weight.ADVICE)


_READERS: dict[type, Callable[..., Iterator[Difference]]] = {
    Directory: _directory,
    Generated: _generated,
    Settled: _settled,
    Zeroed: _zeroed,
    Fifo: _fifo,
    Compiled: _compiled,
}
