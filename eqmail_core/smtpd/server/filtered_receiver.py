"""Messages of a resident service that filters decide about: kept until they have, then changed and queued.

Source: architecture "the receive path parses a buffer".
"""

import time
from collections.abc import Callable, Iterator
from functools import partial

from eqmail_core.dsn.parameters import DsnParameters
from eqmail_core.filters.chain import FilterChain, FilterConfig
from eqmail_core.ipc.submission_protocol import render_envelope
from eqmail_core.queue.client.async_service import Done
from eqmail_core.queue.format import exit_codes as queue_result
from eqmail_core.smtpd.policy.config import PolicyConfig
from eqmail_core.smtpd.policy.filtered_policy import FilteredSmtpPolicy
from eqmail_core.smtpd.policy.outcome import conclude
from eqmail_core.smtpd.protocol.events import Decision
from eqmail_core.smtpd.server.async_requests import AsyncRequestRunner, Client
from eqmail_core.smtpd.server.buffered_message import BufferedMessage, Said
from eqmail_core.smtpd.server.context import ServerContext
from eqmail_core.smtpd.server.message_receiver import HELD_BYTES, QueueClient, SubmissionPort


def receive_filtered(
    desk: ServerContext,
    client: Client,
    house: PolicyConfig,
    filters: FilterConfig,
    environ: dict[bytes, bytes],
    outbox: QueueClient,
) -> "tuple[FilteredSmtpPolicy, FilteredMessages]":
    """What decides about one client, and what takes its messages."""
    panel = filters.loop_panel(desk.loop, environ)
    reception = FilteredSmtpPolicy(house, environ, desk.date, panel)
    messages = FilteredMessages(desk, client, reception, panel, outbox, filters.quarantine_to, house.rules.size_limit)
    return reception, messages


class FilteredMessages:
    """The messages of one session, one at a time; the verbs of `smtp_message.Incoming`.

    `close` when the client has gone.
    """

    __slots__ = (
        "_client",
        "_deliberation",
        "_desk",
        "_kept",
        "_long",
        "_outbox",
        "_panel",
        "_pieces",
        "_quarantine_to",
        "_reception",
        "_said",
        "is_submitted",
    )

    def __init__(
        self,
        desk: ServerContext,
        client: Client,
        reception: FilteredSmtpPolicy,
        panel: FilterChain,
        outbox: QueueClient,
        quarantine_to: bytes | None,
        size_limit: int,
    ) -> None:
        self._desk = desk
        self._client = client
        self._reception = reception
        self._panel = panel
        self._outbox = outbox
        self._quarantine_to = quarantine_to
        self._kept = BufferedMessage(size_limit)
        self._deliberation: AsyncRequestRunner | None = None
        self._long: SubmissionPort | None = None
        self._pieces: Iterator[bytes] = iter(())
        # What filters have said, until the session asks for it.
        self._said: Said | None = None
        self.is_submitted = False

    def begin(self, header: bytes) -> None:
        """A message follows, behind `header`."""
        self._kept.begin(header)

    def take(self, text: bytes, done: Done, on_ready: Callable[[], None]) -> bool:
        """Take a piece; there is always room for another."""
        self._kept.take(text)
        return True

    def finish(self, sender: bytes, recipients: list[bytes], wishes: DsnParameters | None, done: Done) -> Said | None:
        """The message is whole: what is said if that is known now; else `done` will be called."""
        said = self._kept.finish(sender, recipients, wishes)
        if said is None and self._kept.draft is not None:
            judging = self._reception.judge(self._kept.draft)
            self._deliberation = AsyncRequestRunner(self._desk, self._client, judging, partial(self._judged, done))
        return said

    def queued(self, code: int, when: int, qp: int) -> Said | None:
        """The queue, or a filter, has spoken: the reply and what the log says."""
        said, self._said = self._said, None
        self._long = None
        self.is_submitted = False
        self._kept.forget()
        return said or conclude(self._kept.intake, code, when, qp)

    def forget(self) -> None:
        """What there is of a message is none."""
        if self._deliberation is not None:
            self._deliberation.abandon()
            self._deliberation = None
        if not self.is_submitted:
            self._kept.forget()

    def close(self) -> None:
        """The client has gone."""
        self.forget()
        self._panel.close()

    def _judged(self, done: Done, verdict: Decision) -> None:
        if self._deliberation is None:
            return
        self._deliberation = None
        now = int(time.time())
        self._said = self._kept.settle(verdict, self._quarantine_to, now)
        if self._said is None:
            self._submit(done)
        else:
            done(queue_result.OK, 0, now, 0)

    def _submit(self, done: Done) -> None:
        draft = self._kept.draft
        assert draft is not None
        envelope = render_envelope(draft.sender, draft.recipients, draft.wishes_left())
        self.is_submitted = True
        try:
            if draft.size <= HELD_BYTES:
                self._outbox.submit(envelope, b"".join(self._kept.pieces()), done)
                return
        except OSError:
            done(queue_result.READ_ERROR, 0, 0, 0)
            return
        self._pieces = self._kept.pieces()
        self._long = self._outbox.open_long(done, partial(self._pass_on, envelope, done))
        self._pass_on(envelope, done)

    def _pass_on(self, envelope: bytes, done: Done) -> None:
        """Give the queue as much as it takes now."""
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
