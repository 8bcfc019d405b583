"""Findings of the doctor: each has a stable id, a severity, a fact, and a remedy."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from eqmail_core.control.setting import ControlError
from eqmail_core.system.log import describe_error
from eqmail_setup.errors import EqmailError

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITY_ORDER = (ERROR, WARNING, NOTE)


class Finding(NamedTuple):
    """One result of a check. `id` is GROUP.WHAT and never changes its meaning."""

    id: str
    severity: str
    message: str
    hint: str

    def line(self) -> str:
        """The finding in one line."""
        return f"{self.severity}: {self.id}: {self.message}; {self.hint}"

    def value(self) -> dict[str, str]:
        """The finding in JSON."""
        return {"name": self.id, "weight": self.severity, "fact": self.message, "remedy": self.hint}


def is_selected(name: str, only: Iterable[str], skip: Iterable[str]) -> bool:
    """Whether a finding is wanted: by its name or its group."""
    names = {name, name.partition(".")[0]}
    return (not list(only) or bool(names & set(only))) and not names & set(skip)


def going_on(group: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """The same findings; when the check itself fails, one finding reports that, and the other checks go on."""
    try:
        yield from findings
    except Exception as surprise:
        is_plain = isinstance(surprise, EqmailError | ControlError)
        why = str(surprise) if is_plain else describe_error(surprise).decode("utf-8", "replace")
        fact = f"not all of {group} could be examined: {why}"
        yield Finding(f"{group}.failed", ERROR, fact, f"mend what it names, then: eqmail doctor --only {group}")
