"""What setup can do to an installation: each action is a value with a sentence, and harmless when done twice.

`leaves` foretells the paths that an action changes, with what will lie there; so a run can be written down before it.
Before one that is `final` somebody on a terminal is asked, because it cannot be put back.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

from eqmail_setup.installation.bytecode import compile_folder
from eqmail_setup.installation.manifest_nodes import Dress
from eqmail_setup.transaction.filesystem import ASIDE, LINK, NO_DRESS, State, World, state_of

Left = Iterator[tuple[str, State | None]]


class Action(Protocol):
    """What every action can say and do; a value, which may be compared and hashed."""

    def sentence(self, world: World) -> str:
        """What it does, in the imperative."""
        ...

    def leaves(self, world: World) -> Left:
        """Each path that it changes, with what will lie there."""
        ...

    def perform(self, world: World) -> None:
        """Do it."""
        ...


@runtime_checkable
class MayBeFinal(Protocol):
    """An action that may change what cannot be put back."""

    def final(self) -> bool:
        """Whether it does."""
        ...


class Make(NamedTuple):
    """Make a directory or a named pipe."""

    path: str
    kind: str
    dress: Dress

    def sentence(self, world: World) -> str:
        """What this does."""
        return f"make {self.kind} {world.show(self.path)} ({self.dress})"

    def leaves(self, world: World) -> Left:
        """What it leaves behind."""
        yield self.path, State(self.kind, self.dress)

    def perform(self, world: World) -> None:
        """Do it."""
        world.make(self.path, self.kind, self.dress)


class Write(NamedTuple):
    """Put a file in place as a whole."""

    path: str
    content: bytes
    dress: Dress
    aside: bool = False
    flush: bool = True

    def sentence(self, world: World) -> str:
        """What this does."""
        path = world.show(self.path)
        kept = f", the present file becomes {path}.before-eqmail" if self.aside else ""
        return f"write {path} ({self.dress}, {len(self.content)} bytes){kept}"

    def leaves(self, world: World) -> Left:
        """What it leaves behind."""
        if self.aside:
            old = state_of(self.path, world)
            yield self.path + ASIDE, old and old._replace(dress=old.dress._replace(mode=0o600))
        yield self.path, State("a file", self.dress, self.content)

    def perform(self, world: World) -> None:
        """Do it."""
        if self.aside:
            world.set_aside(self.path)
        world.write(self.path, self.content, self.dress, self.flush)


class Give(NamedTuple):
    """Set owner, group and mode."""

    path: str
    dress: Dress

    def sentence(self, world: World) -> str:
        """What this does."""
        return f"give {world.show(self.path)} to {self.dress.owner}:{self.dress.group} with mode {self.dress.mode:04o}"

    def leaves(self, world: World) -> Left:
        """What it leaves behind."""
        old = state_of(self.path, world)
        yield self.path, old and (old if old.kind == LINK else old._replace(dress=self.dress))

    def perform(self, world: World) -> None:
        """Do it."""
        world.dress(self.path, self.dress)


class Remove(NamedTuple):
    """Remove an empty directory."""

    path: str

    def sentence(self, world: World) -> str:
        """What this does."""
        return f"remove the empty directory {world.show(self.path)}"

    def leaves(self, world: World) -> Left:
        """Nothing."""
        yield self.path, None

    def perform(self, world: World) -> None:
        """Do it."""
        world.remove(self.path)


class Compile(NamedTuple):
    """Compile a folder of the suite's own modules."""

    path: str
    modules: int

    def sentence(self, world: World) -> str:
        """What this does."""
        return f"byte-compile {self.modules} modules in {self.path}"

    def leaves(self, world: World) -> Left:
        """Nothing that has to be put back."""
        yield from ()

    def perform(self, world: World) -> None:
        """Do it."""
        compile_folder(self.path)


class Unlink(NamedTuple):
    """Remove a file, a link or a named pipe."""

    path: str

    def sentence(self, world: World) -> str:
        """What this does."""
        return f"remove {world.show(self.path)}"

    def leaves(self, world: World) -> Left:
        """Nothing."""
        yield self.path, None

    def perform(self, world: World) -> None:
        """Do it."""
        world.unlink(self.path)


class Link(NamedTuple):
    """Put a symbolic link in place."""

    path: str
    target: str

    def sentence(self, world: World) -> str:
        """What this does."""
        return f"link {world.show(self.path)} to {self.target}"

    def leaves(self, world: World) -> Left:
        """What it leaves behind."""
        yield self.path, State(LINK, NO_DRESS, os.fsencode(self.target))

    def perform(self, world: World) -> None:
        """Do it."""
        world.link(self.path, self.target)


class Discard(NamedTuple):
    """Remove a directory with everything in it; what was in it cannot be put back."""

    path: str

    def sentence(self, world: World) -> str:
        """What this does."""
        return f"remove {world.show(self.path)} with everything in it, for good"

    def final(self) -> bool:
        """Whether it is for good."""
        return True

    def leaves(self, world: World) -> Left:
        """Nothing."""
        yield self.path, None

    def perform(self, world: World) -> None:
        """Do it."""
        world.discard(self.path)


def is_final(action: Action) -> bool:
    """Whether what an action changes cannot be put back."""
    return isinstance(action, MayBeFinal) and action.final()
