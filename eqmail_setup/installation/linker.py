"""Linking the programs that are started per message: the modules that each begins with, in a file beside its byte code.

Such a file is believed only as long as every source in it is what it was (`eqmail_core.system.linked`), and a module
that is not in it is imported as usual; so it may be missing or out of date, and then costs only time.
"""

import ast
import marshal
import os
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import MAGIC_NUMBER, cache_from_source
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eqmail_core.system.linked import Part

_PACKAGE = "eqmail_core"
_LOADER = f"{_PACKAGE}.system.linked"
_ENTRY_MODULE = f"{_PACKAGE}.system.entry"

LINKED_PROGRAMS = frozenset(
    "sendmail qmail_inject mailsubj qmail_queue qmail_local forward condredirect bouncesaying except_ preline "
    "qreceipt qmail_smtpd qmail_remote tcp_env splogger".split()
)
"""Modules of the programs that are linked."""

_IMPORTED_LATER = f"{_PACKAGE}/smtpd/server/stdio_server.py"
"""What qmail-smtpd needs only when the service does not take its client over is linked separately."""


def linked_path(source: str) -> str:
    """Where the linked form of a program lies, by the path of its source."""
    return f"{cache_from_source(source).removesuffix('.pyc')}.linked"


def is_linked(source: str) -> bool:
    """Whether this is the source of a program that is linked, or of a part of one."""
    if source.endswith(f"/{_IMPORTED_LATER}"):
        return True
    folder, name = os.path.split(source)
    return name.removesuffix(".py") in LINKED_PROGRAMS and os.path.basename(folder) == "programs"


def is_fresh(source: str) -> bool:
    """Whether the linked form of a program exists, is readable for every account, and matches the current sources."""
    try:
        with open(linked_path(source), "rb") as file:
            content = file.read()
            readable = os.fstat(file.fileno()).st_mode & 0o004
        is_ours = bool(readable) and content.startswith(MAGIC_NUMBER)
        return is_ours and all(_is_unchanged(part) for part in marshal.loads(content[len(MAGIC_NUMBER) :]))
    except (OSError, ValueError, EOFError, TypeError):
        return False


def link(source: str) -> None:
    """Write the linked form of a program, as a whole.  Fails: OSError."""
    path = linked_path(source)
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(_linked(source))
        os.fchmod(file.fileno(), 0o644)
    os.replace(temporary, path)


def _is_unchanged(part: "Part") -> bool:
    found = os.stat(part[1])
    return (int(found.st_mtime), found.st_size) == part[2:4]


def _linked(source: str) -> bytes:
    """Python's mark of its byte code, then the loader and the parts."""
    root, package, inside = source.rpartition(f"/{_PACKAGE}/")
    name = f"{package}{inside.removesuffix('.py')}".strip("/").replace("/", ".")
    scan = _ImportWalker(root)
    for first in (name, _ENTRY_MODULE):
        scan.visit(first)
    return MAGIC_NUMBER + marshal.dumps([scan.part(module) for module in (_LOADER, *scan.order)])


class _ImportWalker:
    """The modules of the suite that a module needs when it is imported, those that others need first."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._seen: set[str] = set()
        self.order: list[str] = []

    def visit(self, name: str) -> None:
        """Put a module into the order, behind the package it is in and what it imports."""
        if name in self._seen or not self._source(name):
            return
        self._seen.add(name)
        self.visit(name.rpartition(".")[0])
        for imported in _imports(self._source(name)):
            self.visit(imported)
        self.order.append(name)

    def part(self, name: str) -> "Part":
        """A module as `eqmail_core.system.linked` takes it."""
        source = self._source(name)
        found = os.stat(source)
        folder = os.path.dirname(source) if source.endswith("/__init__.py") else ""
        code = SourceFileLoader(name, source).get_code(name)
        assert code is not None
        return name, source, int(found.st_mtime), found.st_size, folder, code

    def _source(self, name: str) -> str:
        """The path of a module of eQmail; "" for any other name."""
        base = f"{self._root}/{name.replace('.', '/')}"
        if name.partition(".")[0] != _PACKAGE:
            return ""
        return next((path for path in (f"{base}.py", f"{base}/__init__.py") if os.path.isfile(path)), "")


def _imports(source: str) -> Iterator[str]:
    """What a module imports as soon as it is imported, in order; also names in packages that may be no modules."""
    with open(source, "rb") as file:
        tree = ast.parse(file.read())
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
