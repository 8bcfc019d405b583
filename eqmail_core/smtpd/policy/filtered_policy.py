"""SMTP policy with filters: checks run before the server's own checks, milters after them.

Checks run first because they may allow a client to relay; the server's own checks and plugins still apply.
Milters only see what would be accepted without them, as with Sendmail and Postfix.

Source: libmilter of Sendmail 8.17; Postfix's MILTER_README.
"""

from eqmail_core.filters.transaction import TransactionInfo
from eqmail_core.filters.verdict import (
    ACCEPT,
    CONNECTED,
    DATA,
    DISCARD,
    HELLO,
    MAIL,
    MESSAGE,
    RECIPIENT,
    REFUSE,
    FilterQuery,
    FilterVerdict,
)
from eqmail_core.smtpd.policy.requests import QueryFilter
from eqmail_core.smtpd.protocol.events import (
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
    from collections.abc import Generator, Sequence

    from eqmail_core.filters.message import FilteredMessage
    from eqmail_core.filters.verdict import FilterPanel, FilterPort
    from eqmail_core.smtpd.policy.authority import ClientAuthority
    from eqmail_core.smtpd.policy.decisions import SmtpPolicy
    from eqmail_core.smtpd.policy.message_authentication import AuthCheckConfig
    from eqmail_core.smtpd.policy.requests import PendingDecision, Request, RequestResult
    from eqmail_core.tls.session_info import TlsSessionInfo

    Asking = Generator[Request, RequestResult, FilterVerdict]


_STAGES: "dict[type[SmtpEvent], str]" = {
    Connected: CONNECTED,
    Hello: HELLO,
    Mail: MAIL,
    Recipient: RECIPIENT,
    Data: DATA,
}
_OF_CLIENT = (CONNECTED, HELLO)


def _closes_session(verdict: FilterVerdict) -> bool:
    return verdict.lines[0][:3] == b"421"


class FilteredSmtpPolicy:
    """The filters of `panel` around the server's `own` policy for `client`; `own_name`: the name of this host.

    `auth_check`: how messages are authenticated; None: not at all.
    `decide_message` decides on a complete message; the rest is as in `SmtpPolicy`.
    """

    __slots__ = (
        "_auth_check",
        "_client",
        "_has_relayed",
        "_headers",
        "_info",
        "_is_discarded",
        "_own",
        "_panel",
        "_rejection",
    )

    def __init__(
        self,
        own: "SmtpPolicy",
        client: "ClientAuthority",
        own_name: bytes,
        panel: "FilterPanel",
        auth_check: "AuthCheckConfig | None" = None,
    ) -> None:
        self._auth_check = auth_check
        self._own = own
        self._client = client
        self._panel = panel
        self._info = TransactionInfo(client, own_name)
        # Header fields added by checks, by the stage up to which they are kept.
        self._headers: dict[str, list[bytes]] = {CONNECTED: [], HELLO: [], MESSAGE: []}
        self._is_discarded = False
        # Whether a check allows this message to be relayed.
        self._has_relayed = False
        # The rejection of the client's HELO; MAIL gets the same reply.
        self._rejection: FilterVerdict | None = None

    def reset(self) -> None:
        """Discard the state of this transaction."""
        self._own.reset()

    def tls_started(self, tls_session: "TlsSessionInfo") -> None:
        """Reset the client's state after the TLS handshake."""
        self._own.tls_started(tls_session)
        self._info.tls_session = tls_session
        self._info.reset_client()
        self._rejection = None
        self._headers[HELLO], self._headers[MESSAGE] = [], []

    def decide(self, event: SmtpEvent) -> "Decision | PendingDecision":
        """Decide on an event of the session."""
        if isinstance(event, AuthEvent):
            return self._login(event)
        if isinstance(event, AuthLookup):
            return self._own.decide(event)
        return self._consult(event)

    def decide_message(self, message: "FilteredMessage") -> "PendingDecision":
        """Authenticate a complete message, decide on it, and apply the filters' changes."""
        if self._auth_check is not None and not self._is_discarded:
            refusal = yield from self._auth_check.authenticate(self._info, message)
            if refusal is not None:
                return refusal
        question = FilterQuery(MESSAGE, self._info, message)
        message.is_discarded = self._is_discarded
        for filters in (self._panel.before, self._panel.after):
            for one in () if message.is_discarded else filters:
                verdict = yield from self._ask([one], question)
                if verdict.kind == REFUSE:
                    return Decision(False, verdict.lines, close=_closes_session(verdict))
                message.apply(verdict.changes)
                message.prepend(verdict.headers)
                message.is_discarded = verdict.kind == DISCARD
                if verdict.kind in (ACCEPT, DISCARD):
                    break
        return Decision(True, [])

    # --- queries

    def _ask(self, filters: "Sequence[FilterPort]", question: FilterQuery) -> "Asking":
        """Query filters in turn until one decides finally; return the combined verdict."""
        verdict = FilterVerdict()
        for one in filters:
            if question.stage not in one.stages:
                continue
            filter_verdict = yield QueryFilter(one, question)
            assert isinstance(filter_verdict, FilterVerdict)
            verdict.kind, verdict.lines = filter_verdict.kind, filter_verdict.lines
            verdict.headers += filter_verdict.headers
            verdict.changes += filter_verdict.changes
            verdict.relays = verdict.relays or filter_verdict.relays
            if filter_verdict.kind in (ACCEPT, REFUSE, DISCARD):
                break
        return verdict

    def _consult(self, event: SmtpEvent) -> "PendingDecision":
        stage = _STAGES[type(event)]
        question = FilterQuery(stage, self._record_event(event))
        filter_verdict = yield from self._ask(self._panel.before, question)
        self._headers[stage if stage in _OF_CLIENT else MESSAGE] += filter_verdict.headers
        if filter_verdict.kind == REFUSE:
            return self._refusal(stage, filter_verdict)
        verdict = yield from self._own_decision(event, stage, filter_verdict.relays)
        if not verdict.accepted or self._is_discarded:
            return verdict
        if stage == MAIL and self._rejection is not None:
            return Decision(False, self._rejection.lines)
        if verdict.address is not None:
            self._info.address = verdict.address
        filter_verdict = yield from self._ask(self._panel.after, question)
        if filter_verdict.kind == REFUSE:
            if stage == RECIPIENT:
                self._own.withdraw_recipient()
            return self._refusal(stage, filter_verdict)
        self._is_discarded = filter_verdict.kind == DISCARD
        self._record_accepted(stage)
        if stage == MAIL and self._auth_check is not None:
            yield from self._auth_check.ask_ahead(self._info)
        return verdict

    def _own_decision(self, event: SmtpEvent, stage: str, relays: bool) -> "PendingDecision":
        """Make the decision without filters; `relays`: a check allows the client to relay."""
        client = self._client
        self._has_relayed = self._has_relayed or (relays and stage == MAIL)
        is_lent = stage == RECIPIENT and (relays or self._has_relayed) and not client.may_relay
        if is_lent:
            client.relay_suffix = b""
        try:
            decision = self._own.decide(event)
            verdict = decision if isinstance(decision, Decision) else (yield from decision)
        finally:
            if is_lent:
                client.relay_suffix = None
        if relays and stage in _OF_CLIENT:
            client.grant_relay()
        if stage == DATA and verdict.accepted:
            added = b"".join([header + b"\n" for headers in self._headers.values() for header in headers])
            return Decision(True, verdict.lines, header=verdict.header + added, note=verdict.note)
        return verdict

    def _login(self, event: AuthEvent) -> "PendingDecision":
        decision = self._own.decide(event)
        verdict = decision if isinstance(decision, Decision) else (yield from decision)
        if verdict.accepted:
            self._info.user = event.credentials.user
            self._info.method = event.credentials.method
        return verdict

    def _refusal(self, stage: str, verdict: FilterVerdict) -> Decision:
        """Build the refusal of a command; a client refused on connection gets a 554 or 421 greeting."""
        lines = verdict.lines
        if stage == CONNECTED:
            code = b"554" if lines[0][:1] == b"5" else b"421"
            return Decision(False, [code + line[3:] for line in lines], close=True)
        if stage == HELLO:
            self._rejection = verdict
        return Decision(False, lines, close=_closes_session(verdict))

    # --- state

    def _record_event(self, event: SmtpEvent) -> TransactionInfo:
        info = self._info
        if isinstance(event, Hello):
            info.reset_transaction()
            info.helo, info.is_extended = event.name, event.extended
            self._headers[HELLO] = []
            self._rejection = None
        elif isinstance(event, Mail):
            info.reset_transaction()
            info.id = self._panel.new_id()
            info.sender = info.address = event.address
            info.parameters, info.identity = event.parameters, event.identity
            self._headers[MESSAGE] = []
            self._has_relayed = self._is_discarded = False
        elif isinstance(event, Recipient):
            info.address, info.parameters = event.address, event.parameters
        return info

    def _record_accepted(self, stage: str) -> None:
        info = self._info
        if stage == MAIL:
            info.sender = info.address
        elif stage == RECIPIENT:
            info.recipients.append(info.address)
