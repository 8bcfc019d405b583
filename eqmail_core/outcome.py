"""The three outcomes of every step, and the exceptions that carry them.

K is done, Z temporary, D permanent. Every protocol uses these letters; each has one exit code.
An unknown error is temporary, so that mail is never lost by surprise.

Source: docs/spec "Universal exit code convention"; qmail-command(8).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NewType

    Disposition = NewType("Disposition", bytes)
else:
    # Programs that start per message import neither `typing` nor `enum`.
    Disposition = bytes

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


NOT_DURABLE = Disposition(b"0")
"""Delivered, but a system crash could still lose the message; a notice follows when it is durable."""

DURABLE = Disposition(b"1")
"""Delivered for good; also the disposition of every delivery that failed."""

DSN_RELAYED = Disposition(b"2")
"""Durable, and passed on with its DSN parameters: the next hop, or the one address of a forward, sends the DSNs."""

EXPANDED = Disposition(b"3")
"""Durable, and passed on to several addresses."""


class DeliveryResult:
    """How the delivery to one recipient ended.

    `outcome`: DONE, TEMPORARY or PERMANENT. `text`: for people. `disposition`: what became of a delivered message.
    """

    __slots__ = ("disposition", "outcome", "text")

    def __init__(self, outcome: bytes, text: bytes, disposition: "Disposition" = DURABLE) -> None:
        self.outcome = outcome
        self.text = text
        self.disposition = disposition

    @classmethod
    def from_report(cls, report: bytes, disposition: "Disposition" = DURABLE) -> "DeliveryResult":
        """Split a report: its first letter is the outcome."""
        return cls(report[:1], report[1:], disposition)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DeliveryResult):
            return NotImplemented
        mine = (self.outcome, self.text, self.disposition)
        return mine == (other.outcome, other.text, other.disposition)

    __hash__ = None  # type: ignore[assignment]  # compared, never a key

    def __repr__(self) -> str:
        return f"DeliveryResult({self.outcome!r}, {self.text!r}, {self.disposition!r})"


SUBMITTER_VARIABLE = b"QMAILSUBMITTER"
"""The variable in which a server that queues through a program says who its client is, see dsn/submitter.py."""

DSN_VARIABLE = b"QMAILDSN"
"""Environment variable with the DSN parameters, for programs of a .qmail file.

Format: `dsn.parameters`.
"""
