"""Why a command of the toolkit ends without doing its work: one line for people, one exit code for scripts.

Exit codes: 0 all is well, 1 `check` found differences, 2 the command was used wrongly, 3 errors were found,
4 the command needs a privilege that the caller lacks, 111 a mistake of ours, of which nothing else is known.
"""

DIFFERS = 1
USAGE = 2
FOUND = 3
PRIVILEGE = 4
INTERNAL = 111


class EqmailError(Exception):
    """A command cannot do what was requested; the text names the problem and the remedy."""

    def __init__(self, text: str, code: int = FOUND) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


def usage_error(text: str) -> EqmailError:
    """A refusal because of what the caller wrote."""
    return EqmailError(text, USAGE)


def permission_required(text: str) -> EqmailError:
    """A refusal because of who the caller is."""
    return EqmailError(text, PRIVILEGE)
