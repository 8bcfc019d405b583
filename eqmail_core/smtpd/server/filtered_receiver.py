"""Messages of a resident service with filters: buffered until decided, changed, queued.

Source: docs/INTERNALS.md.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial

from eqmail_core.dsn.parameters import DsnParameters
from eqmail_core.dsn.submitter import with_submitter
from eqmail_core.filters.chain import FilterChain, FilterConfig
from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.client.async_service import Done
from eqmail_core.queue.format import exit_codes as queue_result
from eqmail_core.smtpd.policy.author_check import checks_of
from eqmail_core.smtpd.policy.decisions import SmtpPolicy
from eqmail_core.smtpd.policy.filtered_policy import FilteredSmtpPolicy
from eqmail_core.smtpd.policy.message_checks import MessageChecks
from eqmail_core.smtpd.policy.outcome import conclude
from eqmail_core.smtpd.protocol.events import Decision
from eqmail_core.smtpd.server.async_requests import AsyncRequestRunner, Client
from eqmail_core.smtpd.server.buffered_message import BufferedMessage, Said
from eqmail_core.smtpd.server.config import SessionConfig
from eqmail_core.smtpd.server.context import ServerContext
from eqmail_core.smtpd.server.message_receiver import (
    MAX_BUFFERED_BYTES,
    QueueClient,
    SubmissionPort,
    nobody_in_particular,
    submitter_of,
)


def receive_filtered(
    context: ServerContext,
    client: Client,
    own: SmtpPolicy,
    config: SessionConfig,
    filters: FilterConfig | None,
    queue_client: QueueClient,
) -> "tuple[FilteredSmtpPolicy, FilteredReceiver]":
    """Create the policy and the message receiver for one client, with filters around the server's `own` policy."""
    checks = checks_of(config.policy, config.client)
    if filters is None:
        filters = FilterConfig((), (), None, context.log)
    chain = filters.async_chain(config.client.has_milters)
    policy = FilteredSmtpPolicy(own, config.client, config.policy.rules.host_name, chain, config.policy.auth_check)
    messages = FilteredReceiver(
        context, client, policy, chain, queue_client, filters.quarantine_to, checks, submitter_of(config)
    )
    return policy, messages


class FilteredReceiver:
    """The messages of one session, one at a time; implements `MessageReceiverProtocol`.

    Call `close` when the session ends.
    """

    __slots__ = (
        "_buffered",
        "_client",
        "_context",
        "_long",
        "_panel",
        "_pending_decision",
        "_pieces",
        "_policy",
        "_quarantine_to",
        "_queue_client",
        "_reply",
        "_submitter",
        "is_submitted",
    )

    def __init__(
        self,
        context: ServerContext,
        client: Client,
        policy: FilteredSmtpPolicy,
        panel: FilterChain,
        queue_client: QueueClient,
        quarantine_to: bytes | None,
        checks: MessageChecks,
        submitter: Callable[[], bytes] = nobody_in_particular,
    ) -> None:
        self._context = context
        self._client = client
        self._policy = policy
        self._panel = panel
        self._queue_client = queue_client
        self._quarantine_to = quarantine_to
        self._buffered = BufferedMessage(checks)
        self._pending_decision: AsyncRequestRunner | None = None
        self._submitter = submitter
        self._long: SubmissionPort | None = None
        self._pieces: Iterator[bytes] = iter(())
        # The filters' result, until the session fetches it.
        self._reply: Said | None = None
        self.is_submitted = False

    def begin(self, header: bytes) -> None:
        """Begin a message with `header` prepended."""
        self._buffered.begin(header)

    def take(self, text: bytes, done: Done, on_ready: Callable[[], None]) -> bool:
        """Add a piece; another one may always follow at once."""
        self._buffered.take(text)
        return True

    def finish(self, sender: bytes, recipients: list[bytes], dsn: DsnParameters | None, done: Done) -> Said | None:
        """Complete the message; return the result if it is known now, else `done` will be called."""
        said = self._buffered.finish(sender, recipients, dsn)
        if said is None and self._buffered.message is not None:
            judging = self._policy.decide_message(self._buffered.message)
            self._pending_decision = AsyncRequestRunner(
                self._context, self._client, judging, partial(self._decided, done)
            )
        return said

    def queued(self, code: int, when: int, qp: int) -> Said | None:
        """Return the reply and the log text for the result of the queue or a filter."""
        said, self._reply = self._reply, None
        self._long = None
        self.is_submitted = False
        self._buffered.discard()
        return said or conclude(self._buffered.checks, code, when, qp)

    def discard(self) -> None:
        """Discard the incomplete message."""
        if self._pending_decision is not None:
            self._pending_decision.cancel()
            self._pending_decision = None
        if not self.is_submitted:
            self._buffered.discard()

    def close(self) -> None:
        """End with the session."""
        self.discard()
        self._panel.close()

    def _decided(self, done: Done, verdict: Decision) -> None:
        if self._pending_decision is None:
            return
        self._pending_decision = None
        now = int(time.time())
        self._reply = self._buffered.apply(verdict, self._quarantine_to, now)
        if self._reply is None:
            self._submit(done)
        else:
            done(queue_result.OK, 0, now, 0)

    def _submit(self, done: Done) -> None:
        message = self._buffered.message
        assert message is not None
        dsn = with_submitter(message.remaining_dsn(), self._submitter())
        envelope = Envelope(message.sender, message.recipients, dsn).render()
        self.is_submitted = True
        try:
            if message.size <= MAX_BUFFERED_BYTES:
                self._queue_client.submit(envelope, b"".join(self._buffered.pieces()), done)
                return
        except OSError:
            done(queue_result.READ_ERROR, 0, 0, 0)
            return
        self._pieces = self._buffered.pieces()
        self._long = self._queue_client.open_long(done, partial(self._send_pieces, envelope, done))
        self._send_pieces(envelope, done)

    def _send_pieces(self, envelope: bytes, done: Done) -> None:
        """Send the queue as much as it accepts now."""
        long = self._long
        if long is None:
            return
        try:
            for piece in self._pieces:
                if not long.write(piece):
                    return
        except OSError:
            long.abort()
            done(queue_result.READ_ERROR, 0, 0, 0)
            return
        long.commit(envelope)
