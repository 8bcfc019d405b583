"""The three outcomes of every step, and the exceptions that carry them.

K is done, Z temporary, D permanent. Every protocol uses these letters; each has one exit code.
An unknown error is temporary, so that mail is never lost by surprise.

Source: docs/spec "Universal exit code convention"; qmail-command(8).
"""

DONE = b"K"
TEMPORARY = b"Z"
PERMANENT = b"D"

EXIT_DONE = 0
EXIT_STOP = 99
EXIT_PERMANENT = 100
EXIT_TEMPORARY = 111

EXIT_OF = {DONE: EXIT_DONE, TEMPORARY: EXIT_TEMPORARY, PERMANENT: EXIT_PERMANENT}


class Failure(Exception):
    """A failed step: a text for people and an outcome for programs.

    `text`: bytes without a trailing newline; it may end in an enhanced status code such as (#4.3.0).
    """

    outcome = TEMPORARY

    def __init__(self, text: bytes) -> None:
        super().__init__(text.decode("latin-1"))
        self.text = text

    @property
    def exit_code(self) -> int:
        """The exit code of a program that fails this way: 100 or 111."""
        return EXIT_OF[self.outcome]


class TemporaryFailure(Failure):
    """A failure that may pass: retry later."""


class PermanentFailure(Failure):
    """A failure that no retry resolves."""

    outcome = PERMANENT


class LocalError(Exception):
    """A bug in eQmail, never caused by input; not caught below the top of a service."""


FLEETING, LASTING, TAKEN_OVER, EXPANDED = b"0", b"1", b"2", b"3"
"""The disposition of a delivered message.

Not durable yet; durable; forwarded to exactly one address together with the DSN parameters; forwarded to several.
"""

DSN_VARIABLE = b"WISHES"
"""Environment variable with the DSN parameters, for programs of a .qmail file.

Format: `dsn.parameters`.
"""
