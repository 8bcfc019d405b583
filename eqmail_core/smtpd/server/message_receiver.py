"""Pass a message from an SMTP client to the queue: buffered while short, streamed when long.

Source: docs/INTERNALS.md.
"""

from collections.abc import Callable
from typing import Protocol

from eqmail_core.dsn.parameters import DsnParameters, render_dsn
from eqmail_core.dsn.submitter import with_submitter
from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.client.async_service import Done
from eqmail_core.queue.format import exit_codes as queue_result
from eqmail_core.smtpd.policy.message_checks import MessageChecks
from eqmail_core.smtpd.policy.outcome import conclude
from eqmail_core.smtpd.server.config import SessionConfig

MAX_BUFFERED_BYTES = 65536
"""Maximum number of bytes buffered in memory before a message is complete."""


def nobody_in_particular() -> bytes:
    """Say nothing about a client."""
    return b""


def submitter_of(config: SessionConfig) -> Callable[[], bytes]:
    """Return what says who the client of a session is; a program that queues is told in its environment."""
    client = config.client
    return client.submitter_words if client.queue_program is None else nobody_in_particular


class SubmissionPort(Protocol):
    """A message being streamed into the queue; see `StreamedSubmission`."""

    def write(self, chunk: bytes) -> bool:
        """Send a piece; False asks for a pause."""

    def commit(self, envelope: bytes) -> None:
        """Complete the message."""

    def abort(self) -> None:
        """Discard the message."""


class QueueClient(Protocol):
    """The destination of messages; see `AsyncQueueClient`."""

    def submit(self, envelope: bytes, message: bytes, done: Done) -> None:
        """Queue a complete message."""

    def open_long(self, done: Done, on_ready: Callable[[], None]) -> SubmissionPort:
        """Begin a message that arrives in pieces."""


class MessageReceiverProtocol(Protocol):
    """The messages of one session, one at a time; see `MessageReceiver`."""

    is_submitted: bool

    def begin(self, header: bytes) -> None:
        """Begin a message with `header` prepended."""

    def take(self, text: bytes, done: Done, on_ready: Callable[[], None]) -> bool:
        """Add a piece; False asks for a pause."""

    def finish(
        self, sender: bytes, recipients: list[bytes], dsn: DsnParameters | None, done: Done
    ) -> tuple[bytes, bytes] | None:
        """Complete the message."""

    def queued(self, code: int, when: int, qp: int) -> tuple[bytes, bytes] | None:
        """Process the result after `done` was called."""

    def discard(self) -> None:
        """Discard the incomplete message."""

    def close(self) -> None:
        """End with the session."""


class MessageReceiver:
    """The messages of one session, one at a time.

    The queue client calls `done(code, number, when, qp)` when the queue has accepted or refused the message, perhaps
    before it is complete.  `done` must call `queued`, which returns the reply (lines separated by CRLF) and the log
    text.  `is_submitted`: the message is complete, and the queue's result is awaited.  `submitter()`: words about the
    client for the queue service, as in dsn/submitter.py.
    """

    __slots__ = (
        "_buffered",
        "_buffered_bytes",
        "_checks",
        "_early",
        "_long",
        "_queue_client",
        "_submitter",
        "is_submitted",
    )

    def __init__(
        self, queue_client: QueueClient, checks: MessageChecks, submitter: Callable[[], bytes] = nobody_in_particular
    ) -> None:
        self._queue_client = queue_client
        self._submitter = submitter
        self._checks = checks
        self._early: tuple[int, int, int] | None = None
        self._buffered: list[bytes] = []
        self._buffered_bytes = 0
        self._long: SubmissionPort | None = None
        self.is_submitted = False

    def begin(self, header: bytes) -> None:
        """Begin a message with `header` prepended."""
        self._checks.begin()
        self._buffered = [header]
        self._buffered_bytes = len(header)

    def take(self, text: bytes, done: Done, on_ready: Callable[[], None]) -> bool:
        """Add a piece; False: the next one should wait until `on_ready` is called."""
        checks = self._checks
        checks.receive(text)
        if checks.is_refused:
            self.discard()
        elif self._early is not None:
            pass  # The queue has already refused the message.
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
        """Complete the message; return the reply and the log text, or None: `done` will be called."""
        if self._early is not None:
            return self._conclude(*self._early)
        self._checks.end()
        if self._checks.is_refused:
            self.discard()
            return self._conclude(queue_result.READ_ERROR, 0, 0)
        envelope = Envelope(sender, recipients, with_submitter(render_dsn(dsn), self._submitter())).render()
        self.is_submitted = True
        if self._long is not None:
            self._long.commit(envelope)
        else:
            held, self._buffered = self._buffered, []
            self._queue_client.submit(envelope, b"".join(held), done)
        return None

    def queued(self, code: int, when: int, qp: int) -> tuple[bytes, bytes] | None:
        """Return the reply and the log text for the queue's result.

        None while the client is still sending.
        """
        self._long = None
        if not self.is_submitted:
            self._early = (code, when, qp)
            return None
        return self._conclude(code, when, qp)

    def discard(self) -> None:
        """Discard the incomplete message."""
        self._buffered = []
        self._early = None
        if self._long is not None and not self.is_submitted:
            self._long.abort()
            self._long = None

    def close(self) -> None:
        """End with the session."""
        self.discard()

    def _conclude(self, code: int, when: int, qp: int) -> tuple[bytes, bytes]:
        self.is_submitted = False
        self._early = None
        self._buffered = []
        return conclude(self._checks, code, when, qp)
