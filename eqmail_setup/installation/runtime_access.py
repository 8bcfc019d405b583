"""Whether every account can run the programs, and only root can change what root runs.

The programs are scripts; each user who sends a message runs the interpreter and reads the packages with that user's
rights. What root imports must be writable by root only, and so must every folder above it.
"""

import os
import stat
import sysconfig
from collections.abc import Iterator

from eqmail_setup.installation.launchers import folders, interpreter
from eqmail_setup.transaction.plan import Change

HINT = (
    "run setup from a virtual environment that all can read, for example: "
    "/usr/bin/python3 -m venv /opt/eqmail && /opt/eqmail/bin/pip install FOLDER-OF-EQMAIL"
)


def is_accessible(single_user: bool) -> list[Change]:
    """What keeps other users from running the programs, or lets them change what root runs; each step once."""
    if single_user:
        return []
    paths = _paths()
    found = {(item.path, item.expected): item for item in reversed([*_unreadable(paths), *_writable(paths)])}
    return list(reversed(found.values()))


def unreadable_paths() -> list[Change]:
    """What keeps other users, and so the services, from running the programs."""
    return list(_unreadable(_paths()))


def _paths() -> list[str]:
    return [interpreter(), sysconfig.get_path("stdlib"), *folders()]


def _unreadable(paths: list[str]) -> Iterator[Change]:
    for path in paths:
        for step in _steps(path):
            mode = os.stat(step).st_mode
            expected = 0o001 if stat.S_ISDIR(mode) and step != path else 0o005
            if mode & expected != expected:
                found = f"mode {stat.S_IMODE(mode):04o} keeps users and services from {path}"
                yield Change(step, found, f"readable for all; {HINT}")
                break


def _writable(paths: list[str]) -> Iterator[Change]:
    for path in paths:
        for step in _steps(path):
            found = os.stat(step)
            owner = found.st_uid not in (0, os.geteuid()) or (os.geteuid() == 0 and found.st_uid != 0)
            shared = found.st_mode & 0o002 and not found.st_mode & stat.S_ISVTX
            if owner or shared:
                who = f"uid {found.st_uid}" if owner else "everybody"
                yield Change(step, f"{who} may change what root runs", "writable by root alone")
                break


def _steps(path: str) -> list[str]:
    """Every folder from the root to `path`, and `path` itself, links followed."""
    parts = os.path.realpath(path).split("/")[1:]
    return ["/", *("/" + "/".join(parts[: number + 1]) for number in range(len(parts)))]
