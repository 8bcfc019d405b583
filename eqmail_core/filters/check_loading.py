"""Find Python checks by name among the entry points of installed distributions.

Load them once.  A service loads them after it has dropped its rights: they are foreign code, and must be readable for
it.
"""

import inspect
from importlib.metadata import EntryPoint, entry_points

from eqmail_core.filters.api import GROUP
from eqmail_core.filters.verdict import CONNECTED, DATA, HELLO, MAIL, MESSAGE, RECIPIENT

STAGES = frozenset((CONNECTED, HELLO, MAIL, RECIPIENT, DATA, MESSAGE))

_loaded: "dict[str, LoadedCheck]" = {}


class LoadedCheck:
    """A check: the object, and the stages it has methods for; `problem`: why there is no object."""

    __slots__ = ("problem", "stages", "subject")

    def __init__(self, subject: object, problem: str = "") -> None:
        self.subject = subject
        self.problem = problem
        self.stages = (
            STAGES if problem else frozenset(name for name in STAGES if callable(getattr(subject, name, None)))
        )


def load_check(name: str) -> LoadedCheck:
    """Load the check of this name; after a failure the next call tries again."""
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
    except Exception as surprise:  # Mail must not depend on foreign code.
        return LoadedCheck(None, f"loading it failed: {type(surprise).__name__}: {surprise}")
    check = LoadedCheck(subject)
    if not check.stages:
        return LoadedCheck(None, "it has none of the methods " + ", ".join(sorted(STAGES)))
    return check


def _instantiate(entry: EntryPoint) -> object:
    subject = entry.load()
    return subject() if inspect.isclass(subject) else subject
