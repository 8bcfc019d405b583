"""Checks in Python, found by their names among the entry points of installed distributions, and loaded once.

A service loads them when it has given up its rights: they are somebody else's code, and must be readable for it.
"""

import inspect
from importlib.metadata import EntryPoint, entry_points

from eqmail_core.filters.api import GROUP
from eqmail_core.filters.verdict import CONNECTED, DATA, HELLO, MAIL, MESSAGE, RECIPIENT

STAGES = frozenset((CONNECTED, HELLO, MAIL, RECIPIENT, DATA, MESSAGE))

_loaded: "dict[str, LoadedCheck]" = {}


class LoadedCheck:
    """A check: the object, and the stages for which it has a method; `trouble` says why there is no object."""

    __slots__ = ("problem", "stages", "subject")

    def __init__(self, subject: object, problem: str = "") -> None:
        self.subject = subject
        self.problem = problem
        self.stages = (
            STAGES if problem else frozenset(name for name in STAGES if callable(getattr(subject, name, None)))
        )


def load_check(name: str) -> LoadedCheck:
    """The check of this name; one that cannot be had says why, and is looked for again the next time."""
    check = _loaded.get(name)
    if check is None:
        check = _load(name)
        if not check.problem:
            _loaded[name] = check
    return check


def _load(name: str) -> LoadedCheck:
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        return LoadedCheck(None, f"no installed distribution has an entry point {name} in the group {GROUP}")
    try:
        subject = _instantiate(found[0])
    except Exception as surprise:  # whatever somebody else's code does, mail goes on
        return LoadedCheck(None, f"loading it failed: {type(surprise).__name__}: {surprise}")
    check = LoadedCheck(subject)
    if not check.stages:
        return LoadedCheck(None, "it has none of the methods " + ", ".join(sorted(STAGES)))
    return check


def _instantiate(entry: EntryPoint) -> object:
    subject = entry.load()
    return subject() if inspect.isclass(subject) else subject
