"""Byte code of the suite's modules, written once by setup for users who cannot write it themselves."""

import os
import py_compile
from importlib.util import MAGIC_NUMBER, cache_from_source

from eqmail_setup.installation import linker as linking


def stale_modules(folder: str) -> list[str]:
    """Sources below `folder` whose byte code or linked form is missing, out of date, or unreadable for other users."""
    return [source for source in _sources(folder) if not (_is_fresh(source) and _is_freshly_linked(source))]


def _is_freshly_linked(source: str) -> bool:
    return not linking.is_linked(source) or linking.is_fresh(source)


def compile_folder(folder: str) -> None:
    """Compile stale modules; the results are readable for every account.

    Fails: OSError when the folder cannot be written; a source that does not compile is left to its importer.
    """
    stale = stale_modules(folder)
    for source in stale:
        target = cache_from_source(source)
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        os.chmod(os.path.dirname(target), 0o755)
        if py_compile.compile(source, target, quiet=2):
            os.chmod(target, 0o644)
    for source in stale:
        if linking.is_linked(source):
            linking.link(source)


def _sources(folder: str) -> list[str]:
    return sorted(
        os.path.join(where, name)
        for where, _, names in os.walk(folder)
        if not where.endswith("__pycache__")
        for name in names
        if name.endswith(".py")
    )


def _is_fresh(source: str) -> bool:
    target = cache_from_source(source)
    try:
        with open(target, "rb") as file:
            head = file.read(16)
            readable = os.fstat(file.fileno()).st_mode & 0o004
    except OSError:
        return False
    found = os.stat(source)
    expected = int(found.st_mtime).to_bytes(4, "little") + (found.st_size & 0xFFFFFFFF).to_bytes(4, "little")
    return bool(readable) and head[:4] == MAGIC_NUMBER and head[8:16] == expected
