"""Loads the modules that a program starts with from one file, in which setup linked them.

Python finds each module by several file system accesses.  For a program that runs a few milliseconds, that is most of
its run time.  The code of this module is the first in such a file.  It runs before any import, so it uses only what the
interpreter has loaded anyway.

Source: docs/adr/0016-linked-programs.md.
"""

import sys
from posix import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

    Part = tuple[str, str, int, int, str, CodeType]
    """A module: name, path of its source, the source's time and size, its folder if it is a package, its code."""


def load_linked(parts: "list[Part]") -> None:
    """Create the modules in this order, as imports would; nothing if any source has changed.

    Fails: OSError when a source has gone; whatever a module raises.
    """
    for _, source, changed, size, _, _ in parts:
        found = stat(source)
        if int(found.st_mtime) != changed or found.st_size != size:
            return
    modules = sys.modules
    for name, source, _, _, folder, code in parts:
        if name in modules:
            continue
        module = modules[name] = type(sys)(name)
        package, _, last = name.rpartition(".")
        module.__file__ = source
        module.__package__ = package
        if folder:
            module.__package__ = name
            module.__path__ = [folder]
        exec(code, vars(module))
        if package:
            setattr(modules[package], last, module)


def load_linked_from(path: str) -> None:
    """Create the modules of such a file, for later use; nothing if it is missing or damaged."""
    import marshal

    try:
        with open(path, "rb") as file:
            parts = marshal.loads(memoryview(file.read())[4:])
        load_linked(parts[1:])
    except (OSError, ValueError, EOFError, TypeError, IndexError):
        pass
