"""AUTH SCRAM-SHA-256 and -PLUS of the SMTP server: the exchange of `auth.scram` in lines of SMTP.

Imported for the first client that uses it.
Source: RFC 4954 section 4, RFC 5802 section 5.
"""

from binascii import Error, a2b_base64
from collections.abc import Callable

from eqmail_core.auth.credentials import SCRAM_PLUS, Credentials
from eqmail_core.auth.scram import ScramError, ScramExchange, ScramKeys
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import AuthLookup
from eqmail_core.smtpd.protocol.sasl import CANCEL, challenge_line
from eqmail_core.text.sanitize import is_plain


class ScramSaslExchange:
    """One AUTH command; as `SaslExchange`, but for AuthLookup, which `keys_found` answers.

    `end_point`: the channel binding of this connection, b"" for none; `offers_plus`: the server offers -PLUS here.
    """

    __slots__ = ("_exchange", "_is_last", "_method", "_step")

    def __init__(self, method: bytes, nonce: bytes, end_point: bytes, offers_plus: bool) -> None:
        self._method = method
        self._exchange = ScramExchange(nonce, end_point if method == SCRAM_PLUS else None, offers_plus)
        self._step: Callable[[bytes], bytes | Credentials | AuthLookup] = self._first
        self._is_last = False

    def begin(self, initial: bytes) -> bytes | Credentials | AuthLookup:
        """Start with the initial response of the AUTH line (b"": none)."""
        return self.receive(initial) if initial else challenge_line(b"")

    def receive(self, line: bytes) -> bytes | Credentials | AuthLookup:
        """Continue with the next line of the client."""
        if line == CANCEL:
            return reply.AUTH_CANCELED
        if self._is_last:
            # The client has seen the server's signature; what it answers does not matter, only that it does.
            return self._result(is_proven=True)
        try:
            return self._step(a2b_base64(line, strict_mode=True))
        except (Error, ScramError):
            return reply.AUTH_MALFORMED

    def keys_found(self, keys: ScramKeys) -> bytes:
        """Return the challenge to a client whose keys are these."""
        self._step = self._final
        return challenge_line(self._exchange.challenge(keys))

    def _first(self, message: bytes) -> AuthLookup:
        user = self._exchange.first(message)
        if not user or not is_plain(user):
            raise ScramError("user name")
        return AuthLookup(user)

    def _final(self, message: bytes) -> bytes | Credentials:
        answer = self._exchange.final(message)
        if answer is None:
            return self._result(is_proven=False)
        self._is_last = True
        return challenge_line(answer)

    def _result(self, is_proven: bool) -> Credentials:
        return Credentials(self._method, self._exchange.user, b"", is_proven=is_proven)
