"""A message on its way from an SMTP client to the queue: kept while it is short, passed on in pieces when it is long.

Source: architecture "the receive path parses a buffer".
"""

from collections.abc import Callable
from typing import Protocol

from eqmail_core.dsn.parameters import DsnParameters, render_dsn
from eqmail_core.ipc.submission_protocol import render_envelope
from eqmail_core.queue.client.async_service import Done
from eqmail_core.queue.format import exit_codes as queue_result
from eqmail_core.smtpd.policy.message_checks import MessageChecks
from eqmail_core.smtpd.policy.outcome import conclude

MAX_BUFFERED_BYTES = 65536
"""Longest message that is kept in memory until it is whole."""


class SubmissionPort(Protocol):
    """A message on its way into the queue in pieces; see `queue_link.LongSubmission`."""

    def write(self, chunk: bytes) -> bool:
        """Pass on a piece; False asks for a pause."""

    def commit(self, envelope: bytes) -> None:
        """The message is whole."""

    def abort(self) -> None:
        """Forget the message."""


class QueueClient(Protocol):
    """Where messages go; see `queue_link.QueueLink`."""

    def submit(self, envelope: bytes, message: bytes, done: Done) -> None:
        """Queue a message that is whole."""

    def open_long(self, done: Done, on_ready: Callable[[], None]) -> SubmissionPort:
        """Begin a message that arrives in pieces."""


class MessageReceiverProtocol(Protocol):
    """The messages of one session, one at a time; see `Incoming`."""

    is_submitted: bool

    def begin(self, header: bytes) -> None:
        """A message follows, behind `header`."""

    def take(self, text: bytes, done: Done, on_ready: Callable[[], None]) -> bool:
        """Take a piece; False asks for a pause."""

    def finish(
        self, sender: bytes, recipients: list[bytes], dsn: DsnParameters | None, done: Done
    ) -> tuple[bytes, bytes] | None:
        """The message is whole."""

    def queued(self, code: int, when: int, qp: int) -> tuple[bytes, bytes] | None:
        """`done` was called."""

    def discard(self) -> None:
        """What there is of a message is none."""

    def close(self) -> None:
        """The client has gone."""


class MessageReceiver:
    """The messages of one session, one at a time.

    `done(code, number, when, qp)` is called by the outbox when the queue has the message or has refused it, perhaps
    before it was whole, and must call `queued`, whose answer is the reply, its lines parted by CRLF, and what the log
    says.  `is_submitted`: it is whole, and the queue's answer is awaited.
    """

    __slots__ = ("_buffered", "_buffered_bytes", "_checks", "_early", "_long", "_queue_client", "is_submitted")

    def __init__(self, queue_client: QueueClient, size_limit: int) -> None:
        self._queue_client = queue_client
        self._checks = MessageChecks(size_limit)
        self._early: tuple[int, int, int] | None = None
        self._buffered: list[bytes] = []
        self._buffered_bytes = 0
        self._long: SubmissionPort | None = None
        self.is_submitted = False

    def begin(self, header: bytes) -> None:
        """A message follows, behind `header`."""
        self._checks.begin()
        self._buffered = [header]
        self._buffered_bytes = len(header)

    def take(self, text: bytes, done: Done, on_ready: Callable[[], None]) -> bool:
        """Take a piece; False: the next one should wait until `on_ready` is called."""
        checks = self._checks
        checks.receive(text)
        if checks.is_refused:
            self.discard()
        elif self._early is not None:
            pass  # the queue has refused it already
        elif self._long is not None:
            return self._long.write(text)
        else:
            self._buffered.append(text)
            self._buffered_bytes += len(text)
            if self._buffered_bytes > MAX_BUFFERED_BYTES:
                self._long = self._queue_client.open_long(done, on_ready)
                self._buffered, held = [], self._buffered
                return self._long.write(b"".join(held))
        return True

    def finish(
        self, sender: bytes, recipients: list[bytes], dsn: DsnParameters | None, done: Done
    ) -> tuple[bytes, bytes] | None:
        """The message is whole: the reply and what the log says, if that is known now; else `done` will be called."""
        if self._early is not None:
            return self._conclude(*self._early)
        if self._checks.is_refused:
            return self._conclude(queue_result.READ_ERROR, 0, 0)
        envelope = render_envelope(sender, recipients, render_dsn(dsn))
        self.is_submitted = True
        if self._long is not None:
            self._long.commit(envelope)
        else:
            held, self._buffered = self._buffered, []
            self._queue_client.submit(envelope, b"".join(held), done)
        return None

    def queued(self, code: int, when: int, qp: int) -> tuple[bytes, bytes] | None:
        """The queue has spoken: the reply and what the log says; None while the client is still talking."""
        self._long = None
        if not self.is_submitted:
            self._early = (code, when, qp)
            return None
        return self._conclude(code, when, qp)

    def discard(self) -> None:
        """What there is of a message is none."""
        self._buffered = []
        self._early = None
        if self._long is not None and not self.is_submitted:
            self._long.abort()
            self._long = None

    def close(self) -> None:
        """The client has gone."""
        self.discard()

    def _conclude(self, code: int, when: int, qp: int) -> tuple[bytes, bytes]:
        self.is_submitted = False
        self._early = None
        self._buffered = []
        return conclude(self._checks, code, when, qp)
