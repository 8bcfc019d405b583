"""The server side of POP3 before authentication; no I/O.

Fails: never on client input; bad input becomes a reply.
Source: smtp-server.md 4.12 (qmail-popup.c); RFC 1939 section 4, RFC 2449 (CAPA), RFC 6856 (UTF8).
"""

from eqmail_core.auth.credentials import Credentials
from eqmail_core.pop3.protocol import (
    APOP,
    AUTHORIZATION_FIRST,
    PASS,
    SYNTAX,
    USER_FIRST,
    Pop3Event,
    Pop3Machine,
    split_command,
)


class Authorisation(Pop3Machine):
    """The AUTHORIZATION state.  Credentials are the only event, and the last one."""

    def __init__(self, greeting: bytes) -> None:
        """`greeting` is the timestamp <...>, the challenge of APOP."""
        super().__init__()
        self._greeting = greeting
        self._user: bytes | None = None
        self._accept(greeting)

    def _command(self, line: bytes) -> Pop3Event | None:
        verb, argument = split_command(line)
        if verb == b"user":
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
