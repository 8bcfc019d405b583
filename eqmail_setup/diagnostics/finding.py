"""Findings of check and doctor: each has a stable id, a severity, a message, and what helps."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from eqmail_core.control.setting import ControlError
from eqmail_core.system.log import describe_error
from eqmail_setup.errors import Command, EqmailError, Severity

ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.INFO
SEVERITY_ORDER = (ERROR, WARNING, NOTE)

_OF_CHANGES = {Severity.ERROR: ERROR, Severity.INFO: WARNING, Severity.WARNING: NOTE}
"""A change that should be made, one that would be better, one that is kept as it is."""


class Finding(NamedTuple):
    """One result of a check. `id` is GROUP.WHAT and never changes its meaning.

    `message` is PATH: PROBLEM where it is about a file. `hint` is what helps: words of a command that can be run as it
    is, or a sentence where a person has to decide.
    """

    id: str
    severity: Severity
    message: str
    hint: "str | Command"

    @property
    def command(self) -> Command:
        """The command that helps; empty where there is none."""
        return self.hint if isinstance(self.hint, tuple) else ()

    @property
    def suggestion(self) -> str:
        """What a person has to do; "" where a command helps."""
        return self.hint if isinstance(self.hint, str) else ""

    @property
    def path(self) -> str:
        """The file that it is about; "" for none."""
        path, separator, _ = self.message.partition(": ")
        return path if separator and path.startswith("/") else ""

    def value(self) -> dict[str, object]:
        """The finding in JSON."""
        return {
            "id": self.id,
            "severity": self.severity.value,
            "path": self.path or None,
            "message": self.message,
            "hint": list(self.command),
            "suggestion": self.suggestion,
        }


def severity_of_change(severity: Severity) -> Severity:
    """How serious it is that an installation differs in this way: for check and doctor alike."""
    return _OF_CHANGES[severity]


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
        yield Finding(f"{group}.failed", ERROR, fact, ("eqmail", "doctor", "--only", group))
