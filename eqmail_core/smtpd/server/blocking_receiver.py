"""Messages of one client on two descriptors: passed to the queue while they arrive.  Light.

Source: smtp-server.md 4.5 (qmail-smtpd.c).
"""

import time

from eqmail_core.dsn.parameters import render_dsn
from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.client.blocking import open_queue
from eqmail_core.smtpd.policy.message_checks import MessageChecks
from eqmail_core.smtpd.policy.outcome import conclude
from eqmail_core.smtpd.protocol import replies as reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from eqmail_core.dsn.parameters import DsnParameters
    from eqmail_core.queue.client.blocking import ProgramQueue, ServiceQueue
    from eqmail_core.site.site import Site
    from eqmail_core.smtpd.policy.authority import ClientAuthority

    class BlockingReceiverPort(Protocol):
        """The messages of one session, one at a time; see `BlockingReceiver`."""

        def begin(self, header: bytes) -> bytes:
            """Begin a message; return the reply that refuses it, b"" for none."""

        def take(self, text: bytes) -> None:
            """Add a piece."""

        def finish(self, sender: bytes, recipients: list[bytes], dsn: DsnParameters | None) -> tuple[bytes, bytes]:
            """Complete the message; return the reply and the log text."""

        def discard(self) -> None:
            """Discard the incomplete message."""

        def close(self) -> None:
            """End with the session."""


class BlockingReceiver:
    """The messages of one session, one at a time; `checks`: what each has to pass."""

    def __init__(self, site: "Site", client: "ClientAuthority", checks: MessageChecks) -> None:
        self._site = site
        self._client = client
        self._checks = checks
        self._queue: ProgramQueue | ServiceQueue | None = None

    def begin(self, header: bytes) -> bytes:
        """Begin a message with `header` prepended; return the reply if no queue is available, else b""."""
        try:
            self._queue = open_queue(self._site, self._client.queue_environ())
        except OSError:
            return reply.NO_QUEUE
        self._queue.write(header)
        self._checks.begin()
        return b""

    def take(self, text: bytes) -> None:
        """Add a piece."""
        assert self._queue is not None
        self._checks.receive(text)
        if self._checks.is_refused:
            self._queue.abort()
        else:
            self._queue.write(text)

    def finish(self, sender: bytes, recipients: list[bytes], dsn: "DsnParameters | None") -> tuple[bytes, bytes]:
        """Complete the message; return the reply, its lines separated by CRLF, and the log text."""
        queue, self._queue = self._queue, None
        assert queue is not None
        self._checks.end()
        if self._checks.is_refused:
            queue.abort()
        code = queue.finish(Envelope(sender, recipients, render_dsn(dsn)))
        return conclude(self._checks, code, int(time.time()), queue.qp)

    def discard(self) -> None:
        """Discard the incomplete message that the queue has got already."""
        if self._queue is not None:
            queue, self._queue = self._queue, None
            queue.abort()
            queue.finish(Envelope(b"", []))

    def close(self) -> None:
        """End with the session."""
        self.discard()
