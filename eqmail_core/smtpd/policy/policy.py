"""Who may do what in an SMTP conversation: every decision that the machine in `protocols.smtp_server` asks for.

A decision is a Verdict at once, or, where somebody else has a say, a generator of errands (`policy.errands`).  So the
same decisions serve a program that waits and a service that must not.  Rooms beside this one: plugins are in
`policy.advice`, passwords in `policy.login`, waiting in `policy.patience`, the Received line in `policy.introduction`.

Source: smtp-server.md 4.2 (order of the checks); qmail-smtpd.c.
"""

from eqmail_core.outcome import PERMANENT, TEMPORARY, TemporaryFailure
from eqmail_core.smtpd.policy import plugin_sections as sections
from eqmail_core.smtpd.policy.authentication import authenticate
from eqmail_core.smtpd.policy.client import ClientIdentity
from eqmail_core.smtpd.policy.plugins import PluginSession, PluginVerdict
from eqmail_core.smtpd.policy.requests import AwaitEarlyTalker, Delay, LookupRecipient
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import (
    CONNECTED,
    AuthEvent,
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
    from typing import Any

    from eqmail_core.auth.credentials import Credentials
    from eqmail_core.smtpd.policy.config import PolicyConfig
    from eqmail_core.smtpd.policy.dnsbl import DnsblCheck
    from eqmail_core.smtpd.policy.requests import PendingDecision, RequestResult
    from eqmail_core.tls.session_info import TlsSessionInfo

    OwnDecision = Callable[["SmtpPolicy", Any, PluginVerdict], Decision]

_OK = Decision(True, [reply.OK])
_NOTHING_TO_SAY = Decision(True, [])
_BAD_SENDER = Decision(False, [reply.BAD_SENDER])
_NO_RELAY = Decision(False, [reply.NO_RELAY])
_NO_CONTROLS = Decision(False, [reply.NO_CONTROLS], close=True)
_NOTHING_VERDICT = PluginVerdict()

# What a look-up tells of a recipient.
_LOOKED_UP: "dict[RequestResult, Decision]" = {
    PERMANENT: Decision(False, [reply.NO_MAILBOX]),
    TEMPORARY: Decision(False, [reply.MAILBOX_AWAY]),
}


class SmtpPolicy:
    """Decides the events of one conversation.

    `environ` is the conversation's own: it tells who the client is (TCPREMOTEHOST and so on) and whether it may relay
    (RELAYCLIENT), it is what plugins see and change, and what qmail-queue gets.  `date()` is now, as in `date822`.
    """

    __slots__ = (
        "_accepted",
        "_all_variables",
        "_allowed",
        "_client",
        "_config",
        "_date",
        "_dnsbl",
        "_first",
        "_is_bad_sender",
        "_plugins",
        "environ",
    )

    def __init__(self, config: "PolicyConfig", environ: dict[bytes, bytes], date: "Callable[[], bytes]") -> None:
        self._config = config
        self._date = date
        self._plugins = PluginSession(config.plugins, environ)
        self._client = ClientIdentity(environ)
        lists = config.dnsbl
        self._dnsbl: DnsblCheck | None = None if lists is None else lists.check_for(self._client.remote_ip)
        self._is_bad_sender = False
        self._allowed = False
        # What TLS brings back: the variables and plugins before the client's first command.
        self._first: tuple[dict[bytes, bytes], dict[bytes, list[bytes]] | None] | None = None
        self.environ = environ
        self.reset()

    @property
    def remote_host(self) -> bytes:
        """The client's name, as far as known; it counts as its HELO until it gives one."""
        return self._client.remote_host

    @property
    def remote_ip(self) -> bytes:
        """The client's address, as far as known."""
        return self._client.remote_ip

    @property
    def logs_all(self) -> bool:
        """Whether the log has more than that of C."""
        return self._config.logs_all

    @property
    def login(self) -> bytes | None:
        """Who has logged in."""
        return self._client.remote_info if self._client.is_authenticated else None

    def reset(self) -> None:
        """Forget what belongs to this transaction alone."""
        self._plugins.reset()
        self._accepted = 0
        self._all_variables = 0

    def tls_started(self, tls_session: "TlsSessionInfo") -> None:
        """TLS has begun: what the client said before counts no more, nor what that made of its rights."""
        if self._first is not None:
            variables, self._plugins.plugins = self._first
            self.environ.clear()
            self.environ.update(variables)
        self._client.tls_started(tls_session, self.environ.get(b"TCPREMOTEINFO"))
        self._is_bad_sender = self._allowed = False
        self.reset()

    def decide(self, event: SmtpEvent) -> "Decision | PendingDecision":
        """Decide an event of the conversation; the ends of messages and of plain text are not decided here."""
        if self._first is None and event is not CONNECTED and self._config.rules.offers_tls:
            self._first = (dict(self.environ), self._plugins.plugins)
        if event.restarts:
            self.reset()
        if isinstance(event, AuthEvent):
            return self._authenticate(event.credentials)
        section, note, verdict = _DECISIONS[type(event)]
        if note is not None:
            try:
                note(self, event)
            except TemporaryFailure:
                return _NO_CONTROLS
        pause_s = self._pause_before(event)
        if pause_s or self._plugins.applies_to(section) or self._is_examined(event):
            return self._with_plugins(event, section, verdict, pause_s)
        return verdict(self, event, _NOTHING_VERDICT)

    def _with_plugins(
        self, event: SmtpEvent, section: bytes, verdict: "OwnDecision", pause_s: int
    ) -> "PendingDecision":
        """Decide where others have a say: the clock, plugins, the house, block lists, the delivering side, in order."""
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

    def _pause_before(self, event: SmtpEvent) -> int:
        """How long the client has to wait for the answer, in seconds."""
        if event is CONNECTED:
            return self._config.delays.of(self.environ).greet_s if self._client.tls_session is None else 0
        if isinstance(event, Recipient):
            return self._config.delays.before_recipient(self.environ, self._all_variables)
        return 0

    def _authenticate(self, credentials: "Credentials") -> "PendingDecision":
        verdict = yield from authenticate(credentials, self._plugins, self.environ)
        if verdict.accepted:
            self._client.is_authenticated = True
            self._client.remote_info = credentials.user
        return verdict

    # --- what is asked of the world about clients and recipients

    def _is_examined(self, event: SmtpEvent) -> bool:
        """Tell whether somebody far away may be asked about this."""
        if event is CONNECTED:
            return self._dnsbl is not None
        return isinstance(event, Recipient) and (self._dnsbl or self._config.recipient_check) is not None

    def _decide_connect(self, pause_s: int) -> "PendingDecision":
        """Have block lists asked about the client, wait whether it speaks before us, and let it in or not."""
        dnsbl = self._dnsbl
        if dnsbl is not None and not dnsbl.is_excused(self.environ):
            yield dnsbl.ahead()
        if pause_s and (yield AwaitEarlyTalker(pause_s)):
            return Decision(False, [reply.TALKED_EARLY], close=True)
        if dnsbl is None or not dnsbl.is_met_at_greeting or dnsbl.is_excused(self.environ):
            return _NOTHING_TO_SAY
        return (yield from dnsbl.decide(_NOTHING_TO_SAY))

    def _examine(self, event: Recipient, accepted: Decision, verdict: PluginVerdict) -> "PendingDecision":
        """Let block lists and the delivering side object to a recipient that was accepted."""
        own, dnsbl, check = accepted, self._dnsbl, self._config.recipient_check
        if dnsbl is not None and verdict.own_checks and not dnsbl.is_excused(self.environ):
            own = yield from dnsbl.decide(own)
        wanted = None
        if check is not None and own.accepted:
            wanted = check.wanted(event.address if own.address is None else own.address)
        if wanted is not None:
            # Where nobody can tell, the recipient stays accepted.
            own = _LOOKED_UP.get((yield LookupRecipient(wanted)), own)
        if not own.accepted:
            self._accepted -= 1
        return own

    # --- what is noted of a command before anybody is asked

    def _note_hello(self, event: Hello) -> None:
        self.environ[b"SMTPHELOHOST"] = event.name

    def _note_recipient(self, event: Recipient) -> None:
        self._allowed = self._config.recipient_hosts.accepts(event.address)
        self._all_variables += 1

    def _publish(self, event: SmtpEvent) -> None:
        """Tell plugins about the command, as far as it is not told already."""
        environ = self.environ
        if isinstance(event, Mail):
            environ[b"SMTPMAILFROM"] = event.address
        elif isinstance(event, Recipient):
            environ[b"SMTPRCPTTO"] = event.address
            environ[b"SMTPRCPTCOUNT"] = b"%d" % self._accepted
            environ[b"SMTPRCPTCOUNTALL"] = b"%d" % self._all_variables
            environ[b"SMTPRCPTHOSTSOK"] = b"%d" % self._allowed

    # --- the house's own verdicts; `heard` is what plugins said before

    def _connected(self, event: SmtpEvent, verdict: PluginVerdict) -> Decision:
        return _NOTHING_TO_SAY

    def _hello(self, event: Hello, verdict: PluginVerdict) -> Decision:
        self._client.hello(event.name, b"ESMTP" if event.extended and self._config.says_esmtp else b"SMTP")
        return _NOTHING_TO_SAY

    def _mail(self, event: Mail, verdict: PluginVerdict) -> Decision:
        self._client.is_utf8 = event.dsn is not None and event.dsn.is_utf8
        sender = event.address if verdict.address is None else verdict.address
        self._is_bad_sender = verdict.own_checks and self._config.bad_senders.refuses(sender)
        return _OK if verdict.address is None else Decision(True, [reply.OK], verdict.address)

    def _recipient(self, event: Recipient, verdict: PluginVerdict) -> Decision:
        if self._is_bad_sender:
            return _BAD_SENDER
        address = verdict.address
        appendix = self.environ.get(b"RELAYCLIENT")
        if appendix is None and verdict.own_checks and not self._allowed:
            tls_session = self._client.tls_session
            if tls_session is None:
                return _NO_RELAY
            rejection_reason = tls_session.rejection_reason(self._config.tls_clients)
            if rejection_reason is not None:
                return Decision(False, [reply.no_relay_by_certificate(rejection_reason)])
            self._client.vouched_for = tls_session.email
            self.environ[b"RELAYCLIENT"] = appendix = b""
        self._accepted += 1
        if appendix:
            address = (event.address if address is None else address) + appendix
        return _OK if address is None else Decision(True, [reply.OK], address)

    def _data(self, event: SmtpEvent, verdict: PluginVerdict) -> Decision:
        added = b"".join([header + b"\n" for header in self._plugins.headers])
        self.reset()
        return Decision(True, [], header=self._client.received(self._date()) + added)


_DECISIONS: "dict[type[SmtpEvent], tuple[bytes, Callable[[SmtpPolicy, Any], None] | None, OwnDecision]]" = {
    Connected: (sections.CONNECTION, None, SmtpPolicy._connected),
    Hello: (sections.HELO, SmtpPolicy._note_hello, SmtpPolicy._hello),
    Mail: (sections.MAIL, None, SmtpPolicy._mail),
    Recipient: (sections.RECIPIENT, SmtpPolicy._note_recipient, SmtpPolicy._recipient),
    Data: (sections.DATA, None, SmtpPolicy._data),
}
