"""The server side of POP3 before authentication; no I/O.

Fails: never on client input; bad input becomes a reply.
Source: smtp-server.md 4.12 (qmail-popup.c); RFC 1939 section 4, RFC 2449 (CAPA), RFC 2595 (STLS), RFC 6856 (UTF8).
"""

from eqmail_core.auth.credentials import Credentials
from eqmail_core.pop3.protocol import (
    APOP,
    AUTHORIZATION_FIRST,
    CAPABILITY_STLS,
    CAPABILITY_USER,
    NO_TLS,
    PASS,
    SYNTAX,
    TLS_FIRST,
    TLS_REQUEST,
    USER_FIRST,
    Pop3Event,
    Pop3Machine,
    split_command,
)


class Authorisation(Pop3Machine):
    """The AUTHORIZATION state.  Credentials are the last event; TlsRequest may come before them.

    After TlsRequest the caller calls `begin_tls` and performs the handshake, or calls `refuse_tls`.
    """

    def __init__(self, greeting: bytes, offers_tls: bool = False, needs_tls: bool = False) -> None:
        """`greeting` is the timestamp <...>, the challenge of APOP; `needs_tls`: no password without TLS."""
        super().__init__()
        self._greeting = greeting
        self._user: bytes | None = None
        self._offers_tls = offers_tls
        self._needs_tls = needs_tls
        self._accept(greeting)

    def refuse_tls(self) -> None:
        """Reply that TLS cannot begin."""
        self._refuse(NO_TLS)

    def begin_tls(self) -> None:
        """Reply that TLS begins, and forget everything that was said before it (RFC 2595 section 4)."""
        self._accept()
        self._offers_tls = self._needs_tls = False
        self._user = None
        self._buffer, self._position, self._is_skipping = b"", 0, False

    def _command(self, line: bytes) -> Pop3Event | None:
        verb, argument = split_command(line)
        if verb in (b"user", b"pass", b"apop") and self._needs_tls:
            self._refuse(TLS_FIRST if self._offers_tls else NO_TLS)
        elif verb == b"stls":
            if self._offers_tls:
                return TLS_REQUEST
            self._refuse(NO_TLS)
        elif verb == b"user":
            self._user = argument or self._user
            self._accept() if argument else self._refuse(SYNTAX)
        elif verb == b"pass":
            if self._user is None or not argument:
                self._refuse(USER_FIRST if self._user is None else SYNTAX)
            else:
                return Credentials(PASS, self._user, argument, self._greeting)
        elif verb == b"apop":
            user, space, digest = argument.partition(b" ")
            if space:
                return Credentials(APOP, user, digest, self._greeting)
            self._refuse(SYNTAX)
        elif verb == b"quit":
            self.end()
        elif verb in (b"noop", b"utf8"):
            self._accept()
        elif verb == b"capa":
            self._list_capabilities(argument)
        else:
            self._refuse(AUTHORIZATION_FIRST)
        return None

    def _more_capabilities(self) -> tuple[bytes, ...]:
        login = () if self._needs_tls else (CAPABILITY_USER,)
        return (*login, CAPABILITY_STLS) if self._offers_tls else login
