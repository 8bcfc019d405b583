"""What setup can do to an installation: each action is a value with a sentence, and harmless when done twice."""

from typing import NamedTuple

from eqmail_setup.bytecode import compile_folder
from eqmail_setup.tree import Dress
from eqmail_setup.world import World


class Make(NamedTuple):
    """Make a directory or a named pipe."""

    path: str
    kind: str
    dress: Dress

    def sentence(self, world: World) -> str:
        """What this does."""
        return f"make {self.kind} {world.show(self.path)} ({self.dress})"

    def perform(self, world: World) -> None:
        """Do it."""
        world.make(self.path, self.kind, self.dress)


class Write(NamedTuple):
    """Put a file in place as a whole."""

    path: str
    content: bytes
    dress: Dress
    aside: bool = False

    def sentence(self, world: World) -> str:
        """What this does."""
        path = world.show(self.path)
        kept = f", the present file becomes {path}.before-eqmail" if self.aside else ""
        return f"write {path} ({self.dress}, {len(self.content)} bytes){kept}"

    def perform(self, world: World) -> None:
        """Do it."""
        if self.aside:
            world.set_aside(self.path)
        world.write(self.path, self.content, self.dress)


class Give(NamedTuple):
    """Set owner, group and mode."""

    path: str
    dress: Dress

    def sentence(self, world: World) -> str:
        """What this does."""
        return f"give {world.show(self.path)} to {self.dress.owner}:{self.dress.group} with mode {self.dress.mode:04o}"

    def perform(self, world: World) -> None:
        """Do it."""
        world.dress(self.path, self.dress)


class Remove(NamedTuple):
    """Remove an empty directory."""

    path: str

    def sentence(self, world: World) -> str:
        """What this does."""
        return f"remove the empty directory {world.show(self.path)}"

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

    def perform(self, world: World) -> None:
        """Do it."""
        compile_folder(self.path)


Action = Make | Write | Give | Remove | Compile
