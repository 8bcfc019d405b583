"""Why a command ends without doing its work, how serious a finding is, and the exit codes of every command."""

from enum import Enum, IntEnum

Command = tuple[str, ...]
"""Words of a command line that helps; `eqmail` first where it is one of ours."""


class ExitCode(IntEnum):
    """The exit status of a command; scripts rely on it."""

    OK = 0
    PROBLEMS = 1
    USAGE = 2
    FAILED = 3
    PERMISSION = 4
    INTERNAL = 70
    LOCKED = 75
    INTERRUPTED = 130


EXIT_CODE_MEANINGS = {
    ExitCode.OK: "Success.",
    ExitCode.PROBLEMS: "Problems were found.",
    ExitCode.USAGE: "Wrong usage.",
    ExitCode.FAILED: "The command failed, or something was not found.",
    ExitCode.PERMISSION: "The caller lacks permission.",
    ExitCode.INTERNAL: "Internal error; please report it.",
    ExitCode.LOCKED: "Another command is changing the installation.",
    ExitCode.INTERRUPTED: "Interrupted.",
}


class Severity(Enum):
    """How serious a finding is: errors break something, warnings may, the rest is good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class EqmailError(Exception):
    """A command cannot do what it was asked. The text is `OBJECT: problem`; the hint is a command that helps."""

    def __init__(self, text: str, code: ExitCode = ExitCode.FAILED, hint: Command = ()) -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.hint = hint


def usage_error(text: str, hint: Command = ()) -> EqmailError:
    """The error for what the caller wrote."""
    return EqmailError(text, ExitCode.USAGE, hint)


def permission_required(text: str, hint: Command = ()) -> EqmailError:
    """The error for what this caller may not do."""
    return EqmailError(text, ExitCode.PERMISSION, hint)


def not_found(what: str, hint: Command = ()) -> EqmailError:
    """The error for something named by the caller that is not there."""
    return EqmailError(f"{what}: not found", ExitCode.FAILED, hint)


def not_installed(home: str, stage: str = "") -> EqmailError:
    """The error for a home without an installation."""
    more = ("--root", stage) if stage else ()
    return EqmailError(f"{stage}{home}: no eQmail installation", hint=("eqmail", "--home", home, "setup", *more))
