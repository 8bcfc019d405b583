"""STARTTLS and AUTH of one SMTP session; performs no I/O.

Source: RFC 3207, RFC 4954; smtp-server.md 4.6, 4.7.
"""

from eqmail_core.auth.credentials import CRAM_MD5, SCRAM_METHODS, SCRAM_PLUS, Credentials
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import (
    STARTTLS,
    AuthEvent,
    AuthLookup,
    Decision,
    SmtpEvent,
)
from eqmail_core.smtpd.protocol.options import ServerOptions
from eqmail_core.smtpd.protocol.sasl import SaslExchange, is_over
from eqmail_core.smtpd.protocol.session_streams import SessionStreams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from eqmail_core.smtpd.protocol.events import KeysFound
    from eqmail_core.smtpd.protocol.scram_sasl import ScramSaslExchange


class SecurityCommands(SessionStreams):
    """The state of TLS and AUTH: `is_secure`: under TLS; `authenticated`; `make_challenge`: for CRAM-MD5 and SCRAM.

    `helo`: the client's name; `extended`: it said EHLO; `in_transaction`: MAIL was accepted.
    """

    __slots__ = (
        "_end_point",
        "_exchange",
        "_first_helo",
        "authenticated",
        "extended",
        "helo",
        "in_transaction",
        "is_secure",
        "make_challenge",
    )

    def __init__(self, rules: ServerOptions, helo: bytes, make_challenge: "Callable[[], bytes]") -> None:
        super().__init__(rules)
        self._exchange: SaslExchange | ScramSaslExchange | None = None
        self._end_point: Callable[[], bytes] = bytes
        self.make_challenge = make_challenge
        self.authenticated = False
        self.extended = False
        self.in_transaction = False
        self.is_secure = False
        self.helo = self._first_helo = helo

    def tls_started(self, end_point: "Callable[[], bytes]" = bytes) -> None:
        """Continue after the TLS handshake; discard all earlier client state (RFC 3207 section 4.2).

        `end_point`: returns the channel binding of the connection, b"" without one.
        """
        self._end_point = end_point
        self.is_secure = True
        self.authenticated = self.extended = False
        self.helo = self._first_helo
        self.last_address = None
        self._reset()

    def _reset(self) -> bool:
        """Clear the transaction; return whether there was one."""
        raise NotImplementedError

    # --- STARTTLS

    def _starttls(self, argument: bytes) -> SmtpEvent | None:
        if self.is_secure:
            return self._reply(reply.TLS_ALREADY)
        if argument:
            return self._reply(reply.NO_PARAMETERS)
        if not self._rules.offers_tls:
            return self._reply(reply.NO_CERTIFICATE)
        if self.unread:
            # An attacker between client and server may have injected them, so that they appear protected by TLS.
            self.close(reply.BYTES_BEHIND_STARTTLS)
            return None
        return STARTTLS

    def _begin_tls(self, event: SmtpEvent, verdict: Decision) -> None:
        """Do nothing: the handshake is what matters."""

    # --- AUTH

    def _auth(self, argument: bytes) -> SmtpEvent | None:
        word, _, initial = argument.partition(b" ")
        method = word.lower()
        rejection_reason = self._rules.auth_objection(method, self.is_secure, self.authenticated, self.in_transaction)
        if rejection_reason is not None:
            return self._reply(rejection_reason)
        if method in SCRAM_METHODS:
            # Imported here: few clients use it.
            from eqmail_core.smtpd.protocol.scram_sasl import ScramSaslExchange

            plus = self._rules.offers_auth(SCRAM_PLUS, self.is_secure)
            # The random parts of two challenges: 112 bits.
            nonce = b"".join([self.make_challenge()[1:].partition(b"@")[0] for _ in range(2)])
            self._exchange = ScramSaslExchange(method, nonce, self._end_point(), plus)
        else:
            self._exchange = SaslExchange(method, self.make_challenge() if method == CRAM_MD5 else b"")
        return self._auth_step(self._exchange.begin(initial.strip(b" ")))

    def _auth_line(self, line: bytes) -> SmtpEvent | None:
        assert self._exchange is not None
        return self._auth_step(self._exchange.receive(line))

    def _auth_step(self, answer: bytes | Credentials | AuthLookup) -> SmtpEvent | None:
        if is_over(answer):
            self._exchange = None
        if isinstance(answer, Credentials):
            return AuthEvent(answer)
        return answer if isinstance(answer, AuthLookup) else self._reply(answer)

    def _keys_found(self, event: AuthLookup, verdict: "KeysFound") -> None:
        assert self._exchange is not None
        self._flush_reply(self._exchange.keys_found(verdict.keys))

    def _authenticated(self, event: SmtpEvent, verdict: Decision) -> None:
        self.authenticated = True

    def _line_dropped(self) -> None:
        self._exchange = None
        super()._line_dropped()

    def _reply(self, line: bytes) -> SmtpEvent | None:
        self._flush_reply(line)
        self._note_refusal(line, None)
        return None
