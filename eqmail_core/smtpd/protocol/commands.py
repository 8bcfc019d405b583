"""The commands of one SMTP session: their order, their arguments, and what follows from a decision; performs no I/O.

Source: smtp-server.md 4.2 to 4.5 (qmail-smtpd.c); RFC 5321 section 4.1; RFC 1870, RFC 3030.
"""

from eqmail_core.dsn.parameters import DsnParameters
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.data_reader import DataReader
from eqmail_core.smtpd.protocol.events import (
    DATA,
    RESET,
    AuthEvent,
    AuthLookup,
    BodyPiece,
    Connected,
    Data,
    Decision,
    Hello,
    Mail,
    Recipient,
    SmtpEvent,
    StartTls,
)
from eqmail_core.smtpd.protocol.options import ServerOptions
from eqmail_core.smtpd.protocol.security_commands import SecurityCommands
from eqmail_core.text.sanitize import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


# Maximum number of digits of a chunk length.
_MAX_DIGITS = 12


class SmtpCommands(SecurityCommands):
    """The state that commands need and change; `recipients`: bounded, if the options bound them."""

    __slots__ = ("_commands", "_message", "awaited", "dsn", "recipients")

    def __init__(self, rules: ServerOptions, helo: bytes, make_challenge: "Callable[[], bytes]") -> None:
        super().__init__(rules, helo, make_challenge)
        self._message = DataReader()
        self._commands = 0
        self.awaited: SmtpEvent | None = None
        self._reset()

    def _reset(self) -> bool:
        """Clear the transaction; return whether there was one, or a message in chunks.

        This is the only way a transaction ends without a message: RSET, HELO, EHLO, MAIL, TLS.
        """
        was_there = self.in_transaction or self._message.chunks is not None
        self.in_transaction = False
        self._message.chunks = None
        self.sender = None
        self.recipients: list[bytes] = []
        self.dsn: DsnParameters | None = None
        return was_there

    # --- commands

    def _command(self, line: bytes) -> SmtpEvent | None:
        # C reads a line as a string, which ends at a NUL; but a truncated address would be a different one.
        text, nul, _ = line.partition(b"\0")
        verb, _, argument = text.partition(b" ")
        act = _VERBS.get(verb.upper())
        if nul and act in _WITH_ADDRESS:
            return self._reply(reply.SYNTAX)
        if act is None:
            return self._reply(reply.UNRECOGNISED)
        if self._message.chunks is not None and act not in _BETWEEN_CHUNKS:
            return self._reply(reply.CHUNK_EXPECTED)
        if act is not SmtpCommands._rcpt:
            self._commands += 1
            if 0 < self._rules.max_commands < self._commands:
                self.close(reply.TOO_MANY_COMMANDS)
                return None
        return act(self, argument.lstrip(b" "))

    def _helo(self, name: bytes) -> SmtpEvent:
        return Hello(plain(name), False, self._reset())

    def _ehlo(self, name: bytes) -> SmtpEvent:
        return Hello(plain(name), True, self._reset())

    def _mail(self, argument: bytes) -> SmtpEvent | None:
        self._names_sender = True
        if self._rules.mail_needs_auth and not self.authenticated:
            return self._reply(reply.AUTHORIZATION_REQUIRED)
        address, behind = self._address(argument)
        if address is None:
            return self._reply(reply.SYNTAX)
        event = self._rules.mail(address, behind, argument, self.is_secure)
        if isinstance(event, bytes):
            return self._reply(event)
        event.restarts = self._reset()
        return event

    def _rcpt(self, argument: bytes) -> SmtpEvent | None:
        self._names_sender = False
        if not self.in_transaction:
            return self._reply(reply.MAIL_FIRST)
        address, behind = self._address(argument)
        if address is None:
            return self._reply(reply.SYNTAX)
        if 0 < self._rules.max_recipients <= len(self.recipients):
            return self._reply(reply.TOO_MANY_RECIPIENTS)
        event = self._rules.recipient(address, behind, self.dsn is not None and self.dsn.is_utf8)
        return self._reply(event) if isinstance(event, bytes) else event

    def _data(self, argument: bytes) -> SmtpEvent | None:
        if not self.in_transaction:
            return self._reply(reply.MAIL_FIRST)
        if not self.recipients:
            return self._reply(reply.RECIPIENT_FIRST)
        return DATA

    def _bdat(self, argument: bytes) -> SmtpEvent | None:
        words = argument.upper().split()
        if not self._rules.offers_chunks:
            return self._reply(reply.UNRECOGNISED)
        if not words or not words[0].isdigit() or len(words[0]) > _MAX_DIGITS or words[1:] not in ([], [b"LAST"]):
            # The end of the chunk is unknown, and its bytes must not be processed as commands.
            self.close(reply.BAD_CHUNK)
            return None
        self._message.announce(int(words[0]), len(words) > 1)
        return self._data(b"") if self._message.chunks is None else None

    def _rset(self, argument: bytes) -> SmtpEvent:
        self._reset()
        self._flush_reply(reply.FLUSHED)
        return RESET

    def _noop(self, argument: bytes) -> SmtpEvent | None:
        return self._reply(reply.OK)

    def _vrfy(self, argument: bytes) -> SmtpEvent | None:
        return self._reply(reply.VERIFY)

    def _help(self, argument: bytes) -> SmtpEvent | None:
        return self._reply(reply.HELP)

    def _quit(self, argument: bytes) -> SmtpEvent | None:
        self.close(reply.closing(self._rules.greeting))
        return None

    # --- consequences of a decision

    def _hello_answered(self, event: SmtpEvent, verdict: Decision) -> None:
        self._out.append(reply.banner(self._rules.greeting))

    def _connect_answered(self, event: Hello, verdict: Decision) -> None:
        self.helo = event.name
        self.extended = event.extended
        self._out += self._rules.hello(event.extended, self.is_secure)

    def _open_transaction(self, event: Mail, verdict: Decision) -> None:
        self.sender = event.address if verdict.address is None else verdict.address
        self.dsn = event.dsn
        self.in_transaction = True

    def _add_recipient(self, event: Recipient, verdict: Decision) -> None:
        if event.dsn is not None:
            if self.dsn is None:
                self.dsn = DsnParameters()
            self.dsn.set_recipient(len(self.recipients), event.dsn)
        self.recipients.append(event.address if verdict.address is None else verdict.address)

    def _begin_body(self, event: SmtpEvent, verdict: Decision) -> None:
        self.in_transaction = False
        if not self._message.begin():
            self._flush_reply(reply.GO_AHEAD)

    def _end_body(self, event: SmtpEvent, verdict: Decision) -> None:
        """The envelope ended when the body began; a client with a message is not idle."""
        self._commands = 0

    # --- helpers

    def _address(self, argument: bytes) -> tuple[bytes | None, bytes]:
        """Parse the argument of MAIL or RCPT to the address and the text after it."""
        address, behind = self._rules.read_address(argument)
        if address is None:
            return None, b""
        self.last_address = address
        return address, behind


_VERBS: "dict[bytes, Callable[[SmtpCommands, bytes], SmtpEvent | None]]" = {
    b"HELO": SmtpCommands._helo,
    b"EHLO": SmtpCommands._ehlo,
    b"MAIL": SmtpCommands._mail,
    b"RCPT": SmtpCommands._rcpt,
    b"DATA": SmtpCommands._data,
    b"BDAT": SmtpCommands._bdat,
    b"RSET": SmtpCommands._rset,
    b"NOOP": SmtpCommands._noop,
    b"VRFY": SmtpCommands._vrfy,
    b"HELP": SmtpCommands._help,
    b"QUIT": SmtpCommands._quit,
    b"STARTTLS": SmtpCommands._starttls,
    b"AUTH": SmtpCommands._auth,
}

_WITH_ADDRESS = (SmtpCommands._mail, SmtpCommands._rcpt)

_BETWEEN_CHUNKS = (
    SmtpCommands._bdat,
    SmtpCommands._rset,
    SmtpCommands._helo,
    SmtpCommands._ehlo,
    SmtpCommands._noop,
    SmtpCommands._help,
    SmtpCommands._vrfy,
    SmtpCommands._quit,
)

CONSEQUENCES: "dict[type[SmtpEvent | None], Callable[[SmtpCommands, Any, Any], None]]" = {
    Connected: SmtpCommands._hello_answered,
    Hello: SmtpCommands._connect_answered,
    Mail: SmtpCommands._open_transaction,
    Recipient: SmtpCommands._add_recipient,
    Data: SmtpCommands._begin_body,
    BodyPiece: SmtpCommands._end_body,
    StartTls: SmtpCommands._begin_tls,
    AuthEvent: SmtpCommands._authenticated,
    AuthLookup: SmtpCommands._keys_found,
}
"""What follows from an accepted event, by its type."""
