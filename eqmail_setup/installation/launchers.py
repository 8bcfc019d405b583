"""The programs of the suite: which modules there are, who may run them, and the file that starts each.

A program is a text that its interpreter has to read, so what C could hide with mode 0711 is 0755 here; only what root
alone may start is 0700. `qmail-queue` is a client of the queue service and therefore not setuid.

Source: programs.md 1.1-1.3 (modes and owners).
"""

import os
import sys
from importlib.util import find_spec
from typing import NamedTuple

from eqmail_setup.installation.linker import is_linked, linked_path
from eqmail_setup.installation.managed_file import with_checksum
from eqmail_setup.templating import render

PUBLIC_MODE = 0o755
ROOT_ONLY_MODE = 0o700
MODES = {
    "qmail-start": ROOT_ONLY_MODE,
    "qmail-lspawn": ROOT_ONLY_MODE,
    "qmail-newu": ROOT_ONLY_MODE,
    "qmail-newmrh": ROOT_ONLY_MODE,
}

# Programs whose names differ from their modules, and those that are entry points of the toolkit.
ALIASES = {"qmail-shcfg": "qmail_showctl"}
TOOLKIT_PROGRAMS = {
    "config": ("eqmail_setup.legacy.config", "main"),
    "config-fast": ("eqmail_setup.legacy.config_fast", "main"),
    "mksrvrcerts": ("eqmail_setup.legacy.mksrvrcerts", "main"),
    "mkusers": ("eqmail_setup.legacy.dispatch", "mkusers"),
    "eqmail": ("eqmail_setup.legacy.dispatch", "eqmail"),
}
COMMAND_ALIASES = {"mkusers", "eqmail"}
"""Those of them that are commands under another name, and explained with these."""

PACKAGES = ("uvloop", "dns", "cdbx", "cryptography", "idna", "publicsuffixlist", "click", "pydantic", "jinja2", "rich")
"""What the suite imports from elsewhere; used to find the folders in which it lies."""

OPTIONAL_PACKAGES = ("setproctitle",)
"""What the suite imports where it is installed."""

_LONGEST_FIRST_LINE = 120


class Launcher(NamedTuple):
    """One file in bin/: its name, its mode, and the function that it calls."""

    name: str
    mode: int
    module: str
    function: str


def launchers() -> list[Launcher]:
    """Every program that setup installs, sorted by name."""
    folder = _folder_of("eqmail_core.programs")
    modules = [name[:-3] for name in os.listdir(folder) if name.endswith(".py") and not name.startswith("_")]
    found = {_name_of(module): (f"eqmail_core.programs.{module}", "main") for module in modules}
    for name, module in ALIASES.items():
        if module in modules:
            found.setdefault(name, (f"eqmail_core.programs.{module}", "main"))
    found |= TOOLKIT_PROGRAMS
    return [Launcher(name, MODES.get(name, PUBLIC_MODE), *found[name]) for name in sorted(found)]


def launcher_text(program: Launcher, home: str) -> bytes:
    """The file that starts a program with this interpreter, these packages and this home."""
    python = interpreter()
    values = {
        "python": python,
        "direct": " " not in python and len(python) < _LONGEST_FIRST_LINE,
        "paths": folders(),
        "home": home,
        "program": program,
        "linked": linked_path(module_file(program)) if is_linked(module_file(program)) else "",
    }
    return with_checksum(render("bin/program.j2", **values))


def interpreter() -> str:
    """The Python that runs this command, without the detour over a virtual environment's link."""
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)


def own_folders() -> list[str]:
    """The folders of the suite's own two packages."""
    return [_folder_of(name) for name in ("eqmail_core", "eqmail_setup")]


def folders() -> list[str]:
    """The folders in which the suite and the packages that it needs lie, each once."""
    optional = [name for name in OPTIONAL_PACKAGES if find_spec(name)]
    return list(dict.fromkeys(os.path.dirname(_folder_of(name)) for name in ("eqmail_core", *PACKAGES, *optional)))


def module_file(program: Launcher) -> str:
    """The source in which a program is described."""
    package, _, module = program.module.rpartition(".")
    return f"{_folder_of(package)}/{module}.py"


def _folder_of(package: str) -> str:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the package {package} is not installed")
    return os.path.dirname(os.path.abspath(spec.origin))


def _name_of(module: str) -> str:
    return module.rstrip("_").replace("_", "-")
