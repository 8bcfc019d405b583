"""An SMTP session on two descriptors with filters: each message waits for their decision.

Source: smtp-server.md 4.1, 4.5.
"""

import time

from eqmail_core.filters.chain import FilterConfig
from eqmail_core.queue.client.blocking import open_queue
from eqmail_core.queue.format import exit_codes as queue_result
from eqmail_core.smtpd.policy.filtered_policy import FilteredSmtpPolicy
from eqmail_core.smtpd.policy.outcome import conclude
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import BodyKind, Decision
from eqmail_core.smtpd.server.blocking_session import BlockingSmtpSession
from eqmail_core.smtpd.server.buffered_message import BufferedMessage, Said

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from eqmail_core.smtpd.policy.config import PolicyConfig


class BlockingFilteredPolicy(FilteredSmtpPolicy):
    """`FilteredSmtpPolicy` with a panel, closed with the session, and the quarantine address."""

    __slots__ = ("panel", "quarantine_to")

    def __init__(
        self, config: "PolicyConfig", environ: dict[bytes, bytes], date: "Callable[[], bytes]", filters: FilterConfig
    ) -> None:
        self.panel = filters.blocking_chain(environ)
        self.quarantine_to = filters.quarantine_to
        super().__init__(config, environ, date, self.panel)


class FilteredBlockingSession(BlockingSmtpSession):
    """`BlockingSmtpSession` with filters."""

    _policy: BlockingFilteredPolicy

    def run(self, databytes: int) -> int:
        """Run the session and return the exit code."""
        self._buffered = BufferedMessage(databytes)
        try:
            return super().run(databytes)
        finally:
            self._policy.panel.close()

    def _begin(self, verdict: Decision) -> Decision:
        self._buffered.begin(verdict.header)
        return verdict

    def _take(self, body: BodyKind) -> None:
        self._buffered.take(body.text)
        if body.is_last:
            line, what = self._conclude()
            self._buffered.discard()
            self._log.note(what)
            self._core.answer(Decision(True, line.split(b"\r\n"), close=line.startswith(b"421")))

    def _conclude(self) -> Said:
        """Let the filters decide, and queue the modified message; return the reply and the log text."""
        said = self._buffered.finish(self._core.sender or b"", self._core.recipients, self._core.dsn)
        message = self._buffered.message
        if said is not None or message is None:
            return said or conclude(self._buffered.checks, queue_result.READ_ERROR, 0, 0)
        verdict = self._runner.run(self._policy.decide_message(message))
        said = self._buffered.apply(verdict, self._policy.quarantine_to, int(time.time()))
        if said is not None:
            return said
        try:
            queue = open_queue(self._site, self._policy.environ)
        except OSError:
            return reply.NO_QUEUE, b"message delayed (qqt failure)"
        try:
            for piece in self._buffered.pieces():
                queue.write(piece)
        except OSError:
            queue.abort()
        code = queue.finish(message.sender, message.recipients, message.remaining_dsn())
        return conclude(self._buffered.checks, code, int(time.time()), queue.qp)

    def _abort_message(self) -> None:
        self._buffered.discard()
