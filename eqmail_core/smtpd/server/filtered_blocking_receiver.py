"""Messages of one client on two descriptors, with filters: each waits for their decision.

Source: smtp-server.md 4.1, 4.5.
"""

import time

from eqmail_core.filters.chain import FilterConfig
from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.client.blocking import open_queue
from eqmail_core.queue.format import exit_codes as queue_result
from eqmail_core.smtpd.policy.author_check import checks_of
from eqmail_core.smtpd.policy.filtered_policy import FilteredSmtpPolicy
from eqmail_core.smtpd.policy.outcome import conclude
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.server.buffered_message import BufferedMessage, Said
from eqmail_core.system.log import write_stderr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.dsn.parameters import DsnParameters
    from eqmail_core.filters.chain import FilterChain
    from eqmail_core.filters.message import FilteredMessage
    from eqmail_core.site.site import Site
    from eqmail_core.smtpd.policy.authority import ClientAuthority
    from eqmail_core.smtpd.policy.config import PolicyConfig
    from eqmail_core.smtpd.policy.decisions import SmtpPolicy
    from eqmail_core.smtpd.policy.message_checks import MessageChecks
    from eqmail_core.smtpd.server.blocking_requests import BlockingRequestRunner


def receive_filtered(
    site: "Site",
    client: "ClientAuthority",
    own: "SmtpPolicy",
    config: "PolicyConfig",
    filters: "FilterConfig | None",
    runner: "BlockingRequestRunner",
) -> "tuple[FilteredSmtpPolicy, FilteredBlockingReceiver]":
    """Create the policy and the message receiver for one client, with filters around the server's `own` policy."""
    if filters is None:
        filters = FilterConfig((), (), None, write_stderr)
    chain = filters.blocking_chain(client.has_milters)
    policy = FilteredSmtpPolicy(own, client, config.rules.host_name, chain, config.auth_check)
    checks, quarantine_to = checks_of(config, client), filters.quarantine_to
    return policy, FilteredBlockingReceiver(site, client, policy, chain, runner, checks, quarantine_to)


class FilteredBlockingReceiver:
    """The messages of one session, one at a time; as `BlockingReceiver`."""

    def __init__(
        self,
        site: "Site",
        client: "ClientAuthority",
        policy: FilteredSmtpPolicy,
        chain: "FilterChain",
        runner: "BlockingRequestRunner",
        checks: "MessageChecks",
        quarantine_to: bytes | None,
    ) -> None:
        self._site = site
        self._client = client
        self._policy = policy
        self._chain = chain
        self._runner = runner
        self._quarantine_to = quarantine_to
        self._buffered = BufferedMessage(checks)

    def begin(self, header: bytes) -> bytes:
        """Begin a message with `header` prepended; it is never refused now."""
        self._buffered.begin(header)
        return b""

    def take(self, text: bytes) -> None:
        """Add a piece."""
        self._buffered.take(text)

    def finish(self, sender: bytes, recipients: list[bytes], dsn: "DsnParameters | None") -> Said:
        """Let the filters decide, and queue the modified message; return the reply and the log text."""
        said = self._buffered.finish(sender, recipients, dsn)
        message = self._buffered.message
        if said is None and message is not None:
            verdict = self._runner.run(self._policy.decide_message(message))
            said = self._buffered.apply(verdict, self._quarantine_to, int(time.time())) or self._submit(message)
        self._buffered.discard()
        return said or conclude(self._buffered.checks, queue_result.READ_ERROR, 0, 0)

    def discard(self) -> None:
        """Discard the incomplete message."""
        self._buffered.discard()

    def close(self) -> None:
        """End with the session."""
        self.discard()
        self._chain.close()

    def _submit(self, message: "FilteredMessage") -> Said:
        try:
            queue = open_queue(self._site, self._client.queue_environ())
        except OSError:
            return reply.NO_QUEUE, b"message delayed (qqt failure)"
        try:
            for piece in self._buffered.pieces():
                queue.write(piece)
        except OSError:
            queue.abort()
        code = queue.finish(Envelope(message.sender, message.recipients, message.remaining_dsn()))
        return conclude(self._buffered.checks, code, int(time.time()), queue.qp)
