"""Gives up the ownership of messages: with what an attempt left, or as they were.

Fails: never; an error of the database is tried again while this node has the message.
"""

from collections.abc import Callable
from functools import partial

from eqmail_core.event_loop.worker_thread import Batcher
from eqmail_core.ipc.admission_protocol import Deferred, unpack_done
from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.postgres.homes import home_of
from eqmail_core.queue.postgres.stored_message import Deferral
from eqmail_core.queue.postgres.worker import DatabaseWorker
from eqmail_core.queue.service.ports import Clock

GROUP = 64
"""Deferrals in one transaction, at most."""

RETRY_S = 2.0
Answer = Callable[[bool], None]


class Releases:
    """The releases of one node, on one connection.

    `released(number)` follows for each message; `is_held(number)`: whether this node still has it; `idle()` is called
    after each group.
    """

    def __init__(
        self,
        worker: DatabaseWorker,
        clock: Clock,
        released: Callable[[int], None],
        is_held: Callable[[int], bool],
        idle: Callable[[], None],
    ) -> None:
        self._worker = worker
        self._database = worker.database
        self._clock = clock
        self._released = released
        self._is_held = is_held
        self._idle = idle
        self._reports: dict[int, list[bytes]] = {}
        self._answers: dict[int, Answer] = {}
        self._deferrals: Batcher[Deferral, int] = Batcher(
            worker, clock.soon, self._database.defer, self._deferred, GROUP
        )

    @property
    def is_idle(self) -> bool:
        """Whether no deferral waits to be written."""
        return self._deferrals.is_idle

    def add_reports(self, number: int, piece: bytes) -> None:
        """Take a piece of the reports of failed recipients, before `defer`."""
        self._reports.setdefault(number, []).append(piece)

    def discard_reports(self, number: int) -> None:
        """Drop the reports of a message that is gone."""
        self._reports.pop(number, None)

    def reset(self) -> None:
        """Drop reports, and answers for a scheduler that is gone."""
        self._reports.clear()
        self._answers.clear()

    def defer(self, envelope: bytes, deferred: Deferred, answer: Answer) -> None:
        """Release a message with the results of its attempt; `answer` follows when the database has them."""
        number, due, done, replies, is_warned = deferred
        bounce = b"".join(self._reports.pop(number, ()))
        self._answers[number] = answer
        home = home_of(destination(envelope, done))
        self._deferrals.add(Deferral(number, due, home, done, replies, bounce, False, is_warned))

    def release(self, numbers: list[int]) -> None:
        """Release messages as they were."""

        def ended(result: object, error: OSError | None) -> None:
            if error is None:
                for number in numbers:
                    self._released(number)
            else:
                self._clock.later(RETRY_S, lambda: self.release([n for n in numbers if self._is_held(n)]))
            self._idle()

        if numbers:
            self._worker.run(lambda: self._database.release(numbers), ended)

    def _deferred(self, group: list[Deferral], count: int | None, error: OSError | None) -> None:
        for deferral in group:
            if count is not None:
                self._released(deferral.number)
                self._answers.pop(deferral.number, _ignore)(True)
            elif self._is_held(deferral.number):
                self._clock.later(RETRY_S, partial(self._defer_again, deferral))
        self._idle()

    def _defer_again(self, deferral: Deferral) -> None:
        if self._is_held(deferral.number):
            self._deferrals.add(deferral)


def _ignore(ok: bool) -> None:
    """Do nothing."""


def destination(envelope: bytes, done: bytes) -> bytes:
    """Return the domain of the first recipient that is left."""
    recipients = Envelope.parse(envelope).recipients
    finished = unpack_done(done)
    left = (recipient for index, recipient in enumerate(recipients) if index not in finished)
    return next(left, b"").rpartition(b"@")[2]
