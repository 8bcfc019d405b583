"""The decisions of the SMTP server, RCPT among them: every one that `smtpd.protocol.session` needs.

A decision is a Decision at once, or a generator of requests (`policy.requests`) where others must be asked.  So the
same decisions serve a blocking program and a non-blocking service.  Related modules: plugins in `policy.plugins`,
passwords in `policy.authentication`, delays in `policy.config`, the client and its rights in `policy.authority`.

Source: smtp-server.md 4.2 (order of the checks); qmail-smtpd.c.
"""

from eqmail_core.outcome import PERMANENT, TEMPORARY, TemporaryFailure
from eqmail_core.smtpd.policy import plugin_sections as sections
from eqmail_core.smtpd.policy.authentication import authenticate, look_up_keys
from eqmail_core.smtpd.policy.plugins import PluginSession, PluginVerdict
from eqmail_core.smtpd.policy.requests import AwaitEarlyTalker, Delay, LookupRecipient
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import (
    CONNECTED,
    AuthEvent,
    AuthLookup,
    Connected,
    Data,
    Decision,
    Hello,
    Mail,
    Recipient,
    SmtpEvent,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from eqmail_core.smtpd.policy.authority import ClientAuthority, ClientState
    from eqmail_core.smtpd.policy.config import PolicyConfig
    from eqmail_core.smtpd.policy.dnsbl import DnsblCheck
    from eqmail_core.smtpd.policy.requests import PendingDecision, RequestResult
    from eqmail_core.tls.session_info import TlsSessionInfo

    Note = Callable[["SmtpPolicy", Any], None]
    Examination = Callable[["SmtpPolicy"], tuple[int, bool]]
    OwnDecision = Callable[["SmtpPolicy", Any, PluginVerdict], Decision]

    class Policy(Protocol):
        """The policy of one session, with filters or without."""

        def decide(self, event: SmtpEvent) -> "Decision | PendingDecision":
            """Decide on an event."""

        def reset(self) -> None:
            """Discard the state of this transaction."""

        def tls_started(self, tls_session: "TlsSessionInfo") -> None:
            """Discard what the client sent before TLS, and the rights it gained by that."""


_OK = Decision(True, [reply.OK])
_NOTHING_TO_SAY = Decision(True, [])
_NOT_YOUR_SENDER = Decision(False, [reply.NOT_YOUR_SENDER])
_BAD_SENDER = Decision(False, [reply.BAD_SENDER])
_NO_RELAY = Decision(False, [reply.NO_RELAY])
_NO_CONTROLS = Decision(False, [reply.NO_CONTROLS], close=True)
_NOTHING_VERDICT = PluginVerdict()

# The decision for each result of a recipient lookup.
_LOOKED_UP: "dict[RequestResult, Decision]" = {
    PERMANENT: Decision(False, [reply.NO_MAILBOX]),
    TEMPORARY: Decision(False, [reply.MAILBOX_AWAY]),
}


class SmtpPolicy:
    """Decides on the events of one session with `client`.  `date()`: now, as in `date822`."""

    __slots__ = (
        "_accepted",
        "_all_recipients",
        "_allowed",
        "_client",
        "_config",
        "_date",
        "_dnsbl",
        "_first",
        "_is_bad_sender",
        "_is_bounce",
        "_plugins",
        "_sender",
    )

    def __init__(self, config: "PolicyConfig", client: "ClientAuthority", date: "Callable[[], bytes]") -> None:
        self._config = config
        self._date = date
        self._client = client
        self._plugins = PluginSession(config.plugins, client)
        lists = config.dnsbl
        self._dnsbl: DnsblCheck | None = None if lists is None else lists.check_for(client.remote_ip)
        self._is_bad_sender = self._is_bounce = False
        self._sender = b""
        self._allowed = False
        # Restored by TLS: the client's rights and the plugins before its first command.
        self._first: tuple[ClientState, dict[bytes, list[bytes]] | None] | None = None
        self.reset()

    def reset(self) -> None:
        """Discard the state of this transaction."""
        self._plugins.reset()
        self._accepted = 0
        self._all_recipients = 0

    def withdraw_recipient(self) -> None:
        """Count one accepted recipient less, because a later check refused it."""
        self._accepted -= 1

    def tls_started(self, tls_session: "TlsSessionInfo") -> None:
        """Discard what the client sent before TLS, and the rights it gained by that."""
        if self._first is not None:
            state, self._plugins.plugins = self._first
            self._client.restore(state)
        self._client.tls_started(tls_session)
        self._is_bad_sender = self._allowed = False
        self.reset()

    def decide(self, event: SmtpEvent) -> "Decision | PendingDecision":
        """Decide on an event; the ends of messages and of plain text are not decided here."""
        if self._first is None and event is not CONNECTED and self._config.rules.offers_tls:
            self._first = (self._client.state(), self._plugins.plugins)
        if event.restarts:
            self.reset()
        row = _DECISIONS.get(type(event))
        if row is None:
            return self._decide_login(event)
        section, note, examine, verdict = row
        if note is not None:
            try:
                note(self, event)
            except TemporaryFailure:
                return _NO_CONTROLS
        pause_s, is_examined = (0, False) if examine is None else examine(self)
        if pause_s or is_examined or (self._plugins.plugins is not None and self._plugins.applies_to(section)):
            return self._with_plugins(event, section, verdict, pause_s)
        return verdict(self, event, _NOTHING_VERDICT)

    def _decide_login(self, event: SmtpEvent) -> "PendingDecision":
        if isinstance(event, AuthEvent):
            return authenticate(event.credentials, self._plugins, self._client)
        assert isinstance(event, AuthLookup)
        return look_up_keys(event.user)

    def _with_plugins(
        self, event: SmtpEvent, section: bytes, verdict: "OwnDecision", pause_s: int
    ) -> "PendingDecision":
        """Decide by delay, plugins, own checks, DNS lists and recipient lookup, in this order."""
        if event is CONNECTED:
            welcome = yield from self._decide_connect(pause_s)
            if not welcome.accepted:
                return welcome
        elif pause_s:
            yield Delay(pause_s)
        plugin_verdict = _NOTHING_VERDICT
        if self._plugins.applies_to(section):
            self._publish(event)
            plugin_verdict = yield from self._plugins.run(section)
            if not plugin_verdict.accepted:
                return plugin_verdict.verdict()
        own = verdict(self, event, plugin_verdict)
        if own.accepted and isinstance(event, Recipient):
            own = yield from self._examine(event, own, plugin_verdict)
        return Decision(own.accepted, plugin_verdict.lines + own.lines, own.address, own.header, own.close, own.note)

    # --- remote checks of clients and recipients

    def _checks_of_client(self) -> tuple[int, bool]:
        """Return the delay before the greeting in seconds, and whether DNS lists apply to the client."""
        return self._client.greeting_delay_s, self._dnsbl is not None

    def _checks_of_recipient(self) -> tuple[int, bool]:
        """Return the delay before the reply in seconds, and whether DNS lists or the recipient lookup apply."""
        is_examined = (self._dnsbl or self._config.recipient_check or self._config.greylist) is not None
        return self._client.recipient_delay_s(self._all_recipients), is_examined

    def _decide_connect(self, pause_s: int) -> "PendingDecision":
        """Start the DNS queries, wait for early talkers, and admit or refuse the client."""
        dnsbl = self._dnsbl
        if dnsbl is not None and not self._client.is_exempt_from_dnsbl:
            yield dnsbl.ahead()
        if pause_s and (yield AwaitEarlyTalker(pause_s)):
            return Decision(False, [reply.TALKED_EARLY], close=True)
        if dnsbl is None or not dnsbl.is_met_at_greeting or self._client.is_exempt_from_dnsbl:
            return _NOTHING_TO_SAY
        return (yield from dnsbl.decide(_NOTHING_TO_SAY))

    def _examine(self, event: Recipient, accepted: Decision, verdict: PluginVerdict) -> "PendingDecision":
        """Apply DNS lists and the recipient lookup to an accepted recipient."""
        own, dnsbl, check = accepted, self._dnsbl, self._config.recipient_check
        if dnsbl is not None and verdict.own_checks and not self._client.is_exempt_from_dnsbl:
            own = yield from dnsbl.decide(own)
        wanted = None
        if check is not None and own.accepted:
            wanted = check.wanted(event.address if own.address is None else own.address)
        if wanted is not None:
            # Without an answer, the recipient stays accepted.
            own = _LOOKED_UP.get((yield LookupRecipient(wanted)), own)
        greylist = self._config.greylist
        if greylist is not None and own.accepted and verdict.own_checks and not self._client.may_relay:
            recipient = event.address if own.address is None else own.address
            client = self._client
            own = yield from greylist.decide(client.remote_ip, client.helo_name, self._sender, recipient, own)
        if not own.accepted:
            self.withdraw_recipient()
        return own

    # --- state recorded before plugins run

    def _note_hello(self, event: Hello) -> None:
        self._client.hello(event.name)

    def _note_recipient(self, event: Recipient) -> None:
        self._allowed = self._config.recipient_hosts.accepts(event.address)
        self._all_recipients += 1

    def _publish(self, event: SmtpEvent) -> None:
        """Set the environment variables of the command for plugins."""
        set_variable = self._client.set_variable
        if isinstance(event, Mail):
            set_variable(b"SMTPMAILFROM", event.address)
        elif isinstance(event, Recipient):
            set_variable(b"SMTPRCPTTO", event.address)
            set_variable(b"SMTPRCPTCOUNT", b"%d" % self._accepted)
            set_variable(b"SMTPRCPTCOUNTALL", b"%d" % self._all_recipients)
            set_variable(b"SMTPRCPTHOSTSOK", b"%d" % self._allowed)

    # --- own checks; `verdict` is that of the plugins

    def _connected(self, event: SmtpEvent, verdict: PluginVerdict) -> Decision:
        return _NOTHING_TO_SAY

    def _hello(self, event: Hello, verdict: PluginVerdict) -> Decision:
        self._client.hello_accepted(event.name, b"ESMTP" if event.extended and self._config.says_esmtp else b"SMTP")
        return _NOTHING_TO_SAY

    def _mail(self, event: Mail, verdict: PluginVerdict) -> Decision:
        self._client.is_utf8 = event.dsn is not None and event.dsn.is_utf8
        sender = event.address if verdict.address is None else verdict.address
        self._sender = sender
        self._is_bounce = not sender
        senders, login = self._config.sender_logins, self._client.login
        if senders is not None and login is not None and not senders.may_use(login, sender):
            return _NOT_YOUR_SENDER
        self._is_bad_sender = verdict.own_checks and self._config.bad_senders.refuses(sender)
        return _OK if verdict.address is None else Decision(True, [reply.OK], verdict.address)

    def _recipient(self, event: Recipient, verdict: PluginVerdict) -> Decision:
        if self._is_bad_sender:
            return _BAD_SENDER
        address = verdict.address
        appendix = self._client.relay_suffix
        if appendix is None and verdict.own_checks and not self._allowed:
            tls_session = self._client.tls_session
            if tls_session is None:
                return _NO_RELAY
            rejection_reason = tls_session.rejection_reason(self._config.tls_clients)
            if rejection_reason is not None:
                return Decision(False, [reply.no_relay_by_certificate(rejection_reason)])
            self._client.vouched_for = tls_session.email
            self._client.relay_suffix = appendix = b""
        return_paths = self._config.return_paths
        if return_paths is not None:
            given = event.address if address is None else address
            try:
                returned = return_paths.returning(given, self._is_bounce)
            except ValueError as reason:  # InvalidReturnPath, whose module only few hosts need
                return Decision(False, [reply.not_returnable(str(reason))])
            if returned != given:
                address = returned
        self._accepted += 1
        if appendix:
            address = (event.address if address is None else address) + appendix
        return _OK if address is None else Decision(True, [reply.OK], address)

    def _data(self, event: SmtpEvent, verdict: PluginVerdict) -> Decision:
        added = b"".join([header + b"\n" for header in self._plugins.headers])
        self.reset()
        return Decision(True, [], header=self._client.received(self._date()) + added)


_DECISIONS: "dict[type[SmtpEvent], tuple[bytes, Note | None, Examination | None, OwnDecision]]" = {
    Connected: (sections.CONNECTION, None, SmtpPolicy._checks_of_client, SmtpPolicy._connected),
    Hello: (sections.HELO, SmtpPolicy._note_hello, None, SmtpPolicy._hello),
    Mail: (sections.MAIL, None, None, SmtpPolicy._mail),
    Recipient: (
        sections.RECIPIENT,
        SmtpPolicy._note_recipient,
        SmtpPolicy._checks_of_recipient,
        SmtpPolicy._recipient,
    ),
    Data: (sections.DATA, None, None, SmtpPolicy._data),
}
"""The section of plugins, what is noted before them, the checks elsewhere, and the own decision on each event."""
