"""The three outcomes of every step in the system, and the failures that carry them.

K done, Z temporary, D permanent: the same letters on every wire, with one translation each to exit codes.
Unknown trouble is temporary, so that mail is never lost by surprise.

Source: spec "Universal exit code convention"; qmail-command(8).
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
    """A step that did not succeed: a text for people and an outcome for programs.

    `text` is bytes, without a newline at its end, and may end in an enhanced status such as (#4.3.0).
    """

    outcome = TEMPORARY

    def __init__(self, text: bytes) -> None:
        super().__init__(text.decode("latin-1"))
        self.text = text

    @property
    def exit_code(self) -> int:
        """The exit code of a program that ends with this failure: 100 or 111."""
        return EXIT_OF[self.outcome]


class TemporaryFailure(Failure):
    """Trouble that may pass: try again later."""


class PermanentFailure(Failure):
    """Trouble that will not pass by waiting."""

    outcome = PERMANENT


class LocalError(Exception):
    """A bug of ours, never an input's fault; not caught below the top of a service."""


FLEETING, LASTING, TAKEN_OVER, EXPANDED = b"0", b"1", b"2", b"3"
"""What has become of mail that a user has got: not durable yet; durable; and passed on to one address alone, which has
the sender's wishes now, or to several."""

DSN_VARIABLE = b"WISHES"
"""The variable in which programs of a .qmail file find the wishes of the sender, see `formats.wishes`."""
