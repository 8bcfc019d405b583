"""Byte code of the suite's modules, written once by setup for users who cannot write it themselves."""

import os
import py_compile
from importlib.util import MAGIC_NUMBER, cache_from_source


def stale_modules(folder: str) -> list[str]:
    """Sources below `folder` whose byte code is missing, out of date, or unreadable for other users."""
    return [source for source in _sources(folder) if not _is_fresh(source)]


def compile_folder(folder: str) -> None:
    """Compile what is stale; the results are readable for everybody.

    Fails: OSError when the folder cannot be written; a source that does not compile is left to its importer.
    """
    for source in stale_modules(folder):
        target = cache_from_source(source)
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        os.chmod(os.path.dirname(target), 0o755)
        if py_compile.compile(source, target, quiet=2):
            os.chmod(target, 0o644)


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
    wanted = int(found.st_mtime).to_bytes(4, "little") + (found.st_size & 0xFFFFFFFF).to_bytes(4, "little")
    return bool(readable) and head[:4] == MAGIC_NUMBER and head[8:16] == wanted
