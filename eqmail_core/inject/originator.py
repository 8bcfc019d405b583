"""The originator of an injected message and its options, from the environment.

A variable that is set counts, even when it is empty.

Source: delivery.md 5.7 "defaults"; qmail-inject(8) "environment variables".
"""

from eqmail_core.mail.address import needs_quotes
from eqmail_core.mail.address_list import AT, ATOM, COLON, COMMENT, LEFT, QUOTE, RIGHT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from eqmail_core.mail.address_list import Token

USER_VARIABLES = (b"QMAILUSER", b"MAILUSER", b"USER", b"LOGNAME")
HOST_VARIABLES = (b"QMAILHOST", b"MAILHOST")
NAME_VARIABLES = (b"QMAILNAME", b"MAILNAME", b"NAME")
NOBODY = b"anonymous"


class Originator:
    """User, host and full name for From, and the letters of QMAILINJECT.

    Host and name are None if not given.
    """

    __slots__ = ("host", "name", "options", "sender_host", "sender_user", "user")

    def __init__(self, environ: "Mapping[bytes, bytes]") -> None:
        user = _first(environ, USER_VARIABLES)
        self.user = NOBODY if user is None else user
        self.host = _first(environ, HOST_VARIABLES)
        self.name = _first(environ, NAME_VARIABLES)
        self.sender_user = environ.get(b"QMAILSUSER", self.user)
        self.sender_host = environ.get(b"QMAILSHOST", self.host)
        self.options = environ.get(b"QMAILINJECT", b"")

    @property
    def comment_style(self) -> bool:
        """Write From as ADDRESS (NAME)."""
        return b"c" in self.options

    @property
    def per_recipient(self) -> bool:
        """Use a separate envelope sender for each recipient."""
        return b"r" in self.options

    @property
    def per_message(self) -> bool:
        """Use a separate envelope sender for each message."""
        return b"m" in self.options

    @property
    def unwanted(self) -> tuple[bytes, ...]:
        """Fields of the message to ignore."""
        fields = ((b"s", b"return-path"), (b"f", b"from"), (b"i", b"message-id"))
        return tuple(field for letter, field in fields if letter in self.options)

    def from_tokens(self) -> "list[Token]":
        """The From field as tokens, before its host is completed."""
        kind = QUOTE if needs_quotes(self.user) else ATOM
        field = _start(b"From")
        if self.name is None:
            return field + _address((kind, self.user), self.host)
        if self.comment_style:
            return [*field, *_address((kind, self.user), self.host), (COMMENT, self.name)]
        address = _address((kind, self.user), self.host)
        return [*field, (QUOTE, self.name), (LEFT, LEFT), *address, (RIGHT, RIGHT)]

    def return_path_tokens(self, now: float, pid: int) -> "list[Token]":
        """The Return-Path field as tokens, before its host is completed."""
        user = self.sender_user
        if self.per_message:
            user += b"-%d.%d" % (now, pid)
        if self.per_recipient:
            user += b"-"
        return _start(b"Return-Path") + _address((QUOTE, user), self.sender_host)


def _first(environ: "Mapping[bytes, bytes]", names: tuple[bytes, ...]) -> bytes | None:
    return next((environ[name] for name in names if name in environ), None)


def _start(name: bytes) -> "list[Token]":
    return [(ATOM, name), (COLON, COLON)]


def _address(box: "Token", host: bytes | None) -> "list[Token]":
    return [box] if host is None else [box, (AT, AT), (ATOM, host)]
