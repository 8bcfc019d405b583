"""What the connections of the queue service need of its messages, wherever those are kept.

Two keep them: `message_store` in a journal and files, `queue.postgres.store` in a database that several nodes share.
"""

from collections.abc import Callable, Collection
from typing import Protocol

from eqmail_core.event_loop.worker_thread import Call
from eqmail_core.ipc.admission_protocol import AdmissionProtocolError, Deferred
from eqmail_core.queue.postgres.stored_message import Claimed
from eqmail_core.queue.service.accepted_message import AcceptedMessage

SubmissionAnswer = Callable[[int, AcceptedMessage], None]


class Clock(Protocol):
    """Calls functions later: the owner's event loop, or a test's."""

    def soon(self, call: Call) -> object:
        """Call once everything that has arrived already is processed."""

    def later(self, seconds: float, call: Call) -> object:
        """Call after some time."""


class SchedulerLink(Protocol):
    """The scheduler as a store sees it."""

    def admit(self, message: AcceptedMessage, earlier: Claimed | None = None) -> None:
        """Pass a message to the scheduler; `earlier`: what earlier attempts left, of a shared queue."""

    def set_lease(self, state: bytes, epoch: int) -> None:
        """Say whether this node may deliver what it has of a shared queue in this epoch."""


class SubmissionStore(Protocol):
    """The verbs of accepting messages."""

    def take_number(self) -> int:
        """Return a number for a new message.  Fails: OSError when there is none."""

    def release_number(self, number: int, is_written: bool = True) -> None:
        """Return an unused number; its file may have been written to."""

    def path_for(self, number: int) -> str:
        """Return the path of the file of a number."""

    def accept(self, message: AcceptedMessage, answer: SubmissionAnswer) -> None:
        """Store a new message; `answer(code, message)` follows, with code 0 once it is safe."""


class SchedulerStore(Protocol):
    """The verbs of a scheduler's results."""

    def path_for(self, number: int) -> str:
        """Return the path of the file of a message's body."""

    def delivered(self, serial: int) -> None:
        """End a message whose every recipient is done."""

    def needs_spill(self, serial: int, answer: Callable[[bool], None]) -> None:
        """Write mess/N; `answer(True)` follows when it is on the disk."""

    def spilled(self, serial: int) -> None:
        """End a message whose info/N is on the disk."""

    def clean(self, request: bytes, answer: Callable[[bytes], None]) -> None:
        """Do what qmail-clean does; `answer` gets one byte."""

    def add_reports(self, serial: int, text: bytes) -> None:
        """Take a piece of the reports of failed recipients, before `defer`."""

    def defer(self, deferred: Deferred, answer: Callable[[bool], None]) -> None:
        """Give a message back, to be tried again.

        `answer(True)` follows when that is safe, `answer(False)` for a message that is not this node's.
        """

    def handed_over(self, message: AcceptedMessage) -> None:
        """Note that the scheduler has a descriptor of the body."""


class MessageStorePort(SubmissionStore, SchedulerStore, Protocol):
    """All verbs, with those of the scheduler's coming and going."""

    @property
    def held(self) -> int:
        """Count the messages that are in the store's care."""

    def scheduler_connected(self, link: SchedulerLink, still_held: Collection[int]) -> None:
        """Pass to the scheduler every message it does not hold yet, and all that are accepted from now on."""

    def scheduler_disconnected(self, link: SchedulerLink) -> None:
        """Note that the scheduler is gone."""

    def spill(self) -> int:
        """Let all messages wait without a scheduler; return how many."""

    def stop(self, then: Callable[[], None]) -> None:
        """Let all messages wait, and call `then`."""


class DirectoryOnly:
    """The verbs of a shared queue, for a store that is in a directory."""

    def add_reports(self, serial: int, text: bytes) -> None:
        """Refuse what belongs to a shared queue.  Fails: AdmissionProtocolError."""
        raise AdmissionProtocolError("reports for a shared queue")

    def defer(self, deferred: Deferred, answer: Callable[[bool], None]) -> None:
        """Refuse what belongs to a shared queue.  Fails: AdmissionProtocolError."""
        raise AdmissionProtocolError("a deferral in a shared queue")

    def handed_over(self, message: AcceptedMessage) -> None:
        """Keep the body: the message may become a file."""
