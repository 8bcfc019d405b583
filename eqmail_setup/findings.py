"""What the doctor finds: each finding has a name for ever, a weight, a fact, and what helps."""

from collections.abc import Iterable
from typing import NamedTuple

ERROR, WARNING, NOTE = "error", "warning", "note"
WEIGHTS = (ERROR, WARNING, NOTE)


class Finding(NamedTuple):
    """One fact that somebody should know. `name` is GROUP.WHAT and never changes its meaning."""

    name: str
    weight: str
    fact: str
    remedy: str

    def line(self) -> str:
        """The finding in one line."""
        return f"{self.weight}: {self.name}: {self.fact}; {self.remedy}"


def chosen(name: str, only: Iterable[str], skip: Iterable[str]) -> bool:
    """Whether a finding is wanted: by its name or its group."""
    names = {name, name.partition(".")[0]}
    return (not list(only) or bool(names & set(only))) and not names & set(skip)
