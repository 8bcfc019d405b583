"""The exchange after AUTH (LOGIN, PLAIN, CRAM-MD5): from client lines to credentials.

Nothing is verified here; a checkpassword program does that.  Credentials never contain a NUL, because such a program
reads NUL-terminated fields.  User names have no control characters, because logs and headers show them.

Source: smtp-server.md 4.6; RFC 4954, RFC 4616 (PLAIN), RFC 2195 (CRAM-MD5).
"""

from binascii import Error, a2b_base64, b2a_base64

from eqmail_core.auth.credentials import CRAM_MD5, LOGIN, PLAIN, Credentials
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.text.sanitize import is_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.auth.scram import ScramKeys
    from eqmail_core.smtpd.protocol.events import AuthLookup

CANCEL = b"*"
"""The line with which a client ends an exchange."""


def challenge_line(text: bytes) -> bytes:
    """Return a 334 reply line with this challenge."""
    return b"334 " + b2a_base64(text, newline=False)


class SaslExchange:
    """One AUTH command: `begin`, then `receive` for each client line after a challenge.

    Both return a reply line to send, or Credentials at the end of the exchange.
    """

    __slots__ = ("_challenge", "_method", "_user")

    def __init__(self, method: bytes, challenge: bytes) -> None:
        self._method = method
        self._challenge = challenge
        self._user = b""

    def begin(self, initial: bytes) -> bytes | Credentials:
        """Start with the initial response of the AUTH line (b"": none)."""
        if self._method == CRAM_MD5:
            return challenge_line(self._challenge)
        if initial:
            return self.receive(initial)
        return challenge_line(b"Username:") if self._method == LOGIN else challenge_line(b"")

    def receive(self, line: bytes) -> bytes | Credentials:
        """Continue with the next line of the client."""
        if line == CANCEL:
            return reply.AUTH_CANCELED
        text = _decoded(line)
        if not text:
            return reply.AUTH_MALFORMED
        if self._method == PLAIN:
            return self._complete(*_plain(text))
        if self._method == CRAM_MD5:
            user, _, digest = text.partition(b" ")
            return self._complete(user, digest.lstrip(b" "))
        if not self._user:
            self._user = text
            return challenge_line(b"Password:")
        return self._complete(self._user, text)

    def keys_found(self, keys: "ScramKeys") -> bytes:
        """Never called: these methods need no keys."""
        raise NotImplementedError

    def _complete(self, user: bytes, password: bytes) -> bytes | Credentials:
        if not user or not is_plain(user) or not password or b"\0" in password:
            return reply.AUTH_MALFORMED
        return Credentials(self._method, user, password, self._challenge if self._method == CRAM_MD5 else b"")


def is_over(answer: "bytes | Credentials | AuthLookup") -> bool:
    """Whether the exchange ends with this answer."""
    return isinstance(answer, Credentials) or (isinstance(answer, bytes) and not answer.startswith(b"334"))


def _decoded(line: bytes) -> bytes:
    """Decode a base64 line; b"" if it is invalid."""
    try:
        return a2b_base64(line, strict_mode=True)
    except Error:
        return b""


def _plain(text: bytes) -> tuple[bytes, bytes]:
    """Parse a PLAIN message of exactly three fields to user and password.

    The authorization identity is ignored.
    """
    fields = text.split(b"\0")
    return (fields[1], fields[2]) if len(fields) == 3 else (b"", b"")
