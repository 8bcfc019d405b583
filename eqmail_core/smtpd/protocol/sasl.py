"""The dialogue that follows AUTH: LOGIN, PLAIN and CRAM-MD5, from the client's lines to credentials.

Nothing is verified here: that is the business of a checkpassword program.  Credentials never hold a NUL, so that they
can be told to such a program as NUL-terminated fields; a user's name has no control characters, because it is told to
everybody else too.

Source: smtp-server.md 4.6; RFC 4954, RFC 4616 (PLAIN), RFC 2195 (CRAM-MD5).
"""

from binascii import Error, a2b_base64, b2a_base64

from eqmail_core.auth.credentials import CRAM_MD5, LOGIN, PLAIN, Credentials
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.text.sanitize import is_plain

_CANCEL = b"*"


def challenge_line(text: bytes) -> bytes:
    """A line that asks the client for more."""
    return b"334 " + b2a_base64(text, newline=False)


class SaslExchange:
    """One AUTH command: `begin`, then `receive` every line of the client, until the answer is no question.

    Both return a reply line to be sent, or Credentials when the client has said everything.
    """

    __slots__ = ("_challenge", "_method", "_user")

    def __init__(self, method: bytes, challenge: bytes) -> None:
        self._method = method
        self._challenge = challenge
        self._user = b""

    def begin(self, initial: bytes) -> bytes | Credentials:
        """The first step, with what the client sent in the AUTH line itself (b"": nothing)."""
        if self._method == CRAM_MD5:
            return challenge_line(self._challenge)
        if initial:
            return self.receive(initial)
        return challenge_line(b"Username:") if self._method == LOGIN else challenge_line(b"")

    def receive(self, line: bytes) -> bytes | Credentials:
        """The next step, with a line of the client."""
        if line == _CANCEL:
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

    def _complete(self, user: bytes, password: bytes) -> bytes | Credentials:
        if not user or not is_plain(user) or not password or b"\0" in password:
            return reply.AUTH_MALFORMED
        return Credentials(self._method, user, password, self._challenge if self._method == CRAM_MD5 else b"")


def is_challenge(answer: bytes | Credentials) -> bool:
    """Tell whether the client is expected to send another line."""
    return isinstance(answer, bytes) and answer.startswith(b"334")


def _decoded(line: bytes) -> bytes:
    """The text of a base64 line, b"" where it is none."""
    try:
        return a2b_base64(line, strict_mode=True)
    except Error:
        return b""


def _plain(text: bytes) -> tuple[bytes, bytes]:
    """User and password of a PLAIN message, three fields and no more; the identity to act for does not matter."""
    fields = text.split(b"\0")
    return (fields[1], fields[2]) if len(fields) == 3 else (b"", b"")
