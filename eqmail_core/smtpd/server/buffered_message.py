"""A message that is buffered until filters decide, and the effect of their decision.  Light.

Source: smtp-server.md 4.5; RFC 5321 section 4.2.5.
"""

from eqmail_core.filters.message import FilteredMessage
from eqmail_core.mail.address import one_line
from eqmail_core.queue.format import exit_codes as queue_result
from eqmail_core.smtpd.policy.message_checks import MessageChecks
from eqmail_core.smtpd.policy.outcome import conclude
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.system.spooled_buffer import SpooledBuffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from eqmail_core.dsn.parameters import DsnParameters
    from eqmail_core.smtpd.protocol.events import Decision

MAX_HEADER = 1 << 20
"""Maximum length of a message header shown to filters, in bytes."""

Said = tuple[bytes, bytes]
"""The reply, its lines separated by CRLF, and the log text."""


class BufferedMessage:
    """The messages of one client, one at a time.

    `trace` is prepended to each, and hidden from filters.
    """

    __slots__ = ("_is_out_of_room", "_store", "checks", "message", "trace")

    def __init__(self, checks: MessageChecks) -> None:
        self.checks = checks
        self.message: FilteredMessage | None = None
        self._store: SpooledBuffer | None = None
        self._is_out_of_room = False
        self.trace = b""

    def begin(self, trace: bytes) -> None:
        """Begin a message."""
        self.discard()
        self.checks.begin()
        self._store = SpooledBuffer()
        self._is_out_of_room = False
        self.trace = trace

    def take(self, text: bytes) -> None:
        """Add a piece of the message."""
        self.checks.receive(text)
        if self._store is None:
            return
        try:
            if not self.checks.is_refused:
                self._store.append(text)
                return
        except OSError:
            self._is_out_of_room = True
        self.discard()

    def finish(self, sender: bytes, recipients: list[bytes], dsn: "DsnParameters | None" = None) -> Said | None:
        """Complete the message.

        Return its result, or None if `message` is ready and filters must decide.
        """
        self.checks.end()
        if self.checks.is_refused:
            self.discard()
        if self._store is None:
            return conclude(
                self.checks, queue_result.WRITE_ERROR if self._is_out_of_room else queue_result.READ_ERROR, 0, 0
            )
        self.message = FilteredMessage(self._store, self._store.beginning(MAX_HEADER), sender, recipients, dsn)
        if self.message.header.size >= MAX_HEADER:
            self.discard()
            return reply.HEADER_TOO_LONG, b"message rejected (header too long)"
        return None

    def apply(self, verdict: "Decision", quarantine_to: bytes | None, now: int) -> Said | None:
        """Apply the filters' decision.

        Return its result, or None to queue the message with the envelope of `message`.
        """
        message = self.message
        assert message is not None
        if not verdict.accepted:
            what = b"message rejected (%b)" if verdict.lines[0][:1] == b"5" else b"message delayed (%b)"
            return b"\r\n".join(verdict.lines), what % b" ".join(verdict.lines)
        if message.is_discarded or not message.recipients:
            return reply.queued(now, 0), b"message discarded by a filter"
        if message.quarantined:
            if quarantine_to is None:
                return reply.NO_QUARANTINE, b"message delayed (no place for quarantine)"
            _quarantine(message, quarantine_to)
        return None

    def pieces(self) -> "Iterator[bytes]":
        """Yield what to queue: the trace, and the modified message.  Fails: OSError."""
        yield self.trace
        if self.message is not None:
            yield from self.message.pieces()

    def discard(self) -> None:
        """Discard the message."""
        if self.message is not None:
            self.message.close()
        elif self._store is not None:
            self._store.close()
        self.message = self._store = None


def _quarantine(message: FilteredMessage, quarantine_to: bytes) -> None:
    """Send the message to the quarantine address, with its original envelope.

    A failure is not reported to the client.
    """
    listed = b" ".join([b"<%b>" % recipient for recipient in message.recipients])
    message.prepend(
        [
            b"X-Quarantine-Reason: " + one_line(message.quarantined),
            b"X-Quarantine-Sender: <%b>" % one_line(message.sender),
            b"X-Quarantine-Recipients: " + one_line(listed),
        ]
    )
    message.redirect(quarantine_to)
