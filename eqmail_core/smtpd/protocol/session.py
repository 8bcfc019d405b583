"""Server side of one SMTP session; performs no I/O.

It takes bytes cut anywhere, enforces the order of commands, parses addresses, and makes each reply that needs no
decision.  `data_reader` decodes messages.  For a decision it returns an event and goes on after `answer`.

Fails: never on client input; bad input becomes a reply or a BareNewlineEvent.
Source: smtp-server.md 4.2 to 4.6 (qmail-smtpd.c); RFC 5321; RFC 2920 (pipelining); RFC 1870 (SIZE).
Long because the whole order of an SMTP conversation is in one place.
"""

from eqmail_core.auth.credentials import CRAM_MD5, Credentials
from eqmail_core.dsn.parameters import DsnParameters
from eqmail_core.smtp.data import BareNewline
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.data_reader import DataReader
from eqmail_core.smtpd.protocol.events import (
    BROKEN,
    CONNECTED,
    DATA,
    RESET,
    STARTTLS,
    AuthEvent,
    BodyKind,
    Connected,
    Data,
    Decision,
    Hello,
    Mail,
    Recipient,
    Refusal,
    SmtpEvent,
    StartTls,
)
from eqmail_core.smtpd.protocol.options import ServerOptions
from eqmail_core.smtpd.protocol.sasl import SaslExchange, is_challenge
from eqmail_core.text.sanitize import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAX_LINE = 4096
"""Maximum length of a command line in bytes; the rest of a longer line is discarded."""

TURN = 100
"""Maximum number of lines and chunks of one client per turn; other clients follow."""

# Replies to unknown commands and wrong order: they refuse no mail.
_OF_DISORDER = (b"500", b"502", b"503")

# Maximum number of digits of a chunk length.
_MAX_DIGITS = 12


class ServerProtocol:
    """One SMTP session; call `next_event` until None, `answer` decisions, send `take_output`.

    If it then `has_more`, call `begin_turn` once the output is sent and other clients were served.

    `awaited`: the event not answered yet; `closed`: nothing follows the output; `closing_reply`: the line with which
    the server ended the session; `is_secure`: under TLS; `refusals`: since `take_refusals`, except wrong order.
    Bounded: input is kept only up to one line beyond what `receive` was given; recipients, if the options bound them.
    """

    __slots__ = (
        "_buffer",
        "_commands",
        "_errors",
        "_exchange",
        "_first_helo",
        "_is_skipping",
        "_message",
        "_names_sender",
        "_out",
        "_position",
        "_rules",
        "_turn_left",
        "authenticated",
        "awaited",
        "closed",
        "closing_reply",
        "dsn",
        "extended",
        "helo",
        "in_transaction",
        "is_secure",
        "last_address",
        "make_challenge",
        "recipients",
        "refusals",
        "sender",
    )

    def __init__(self, rules: ServerOptions, helo: bytes, make_challenge: "Callable[[], bytes]") -> None:
        self._rules = rules
        self.awaited: SmtpEvent | None = None
        self._buffer = b""
        self._position = 0
        self._message = DataReader()
        self._commands = 0
        self._errors = 0
        self._exchange: SaslExchange | None = None
        self._is_skipping = False
        self._names_sender = False
        self._out: list[bytes] = []
        self.refusals: list[Refusal] = []
        self._turn_left = TURN
        self.make_challenge = make_challenge
        self.authenticated = False
        self.closed = False
        self.extended = False
        self.is_secure = False
        self.helo = self._first_helo = helo
        self.in_transaction = False
        self.last_address: bytes | None = None
        self.closing_reply = b""
        self._reset()

    # --- driver interface

    def begin(self) -> SmtpEvent:
        """Return the first event, before any input."""
        self.awaited = CONNECTED
        return CONNECTED

    @property
    def in_body(self) -> bool:
        """Whether the client is sending a message."""
        return self._message.is_open

    @property
    def unread(self) -> int:
        """Number of bytes received and not processed yet."""
        return len(self._buffer) - self._position

    def receive(self, data: bytes) -> None:
        """Add bytes from the client; a turn begins."""
        if self._position < len(self._buffer):
            self._buffer = self._buffer[self._position :] + data
        else:
            self._buffer = data
        self._position = 0
        self._turn_left = TURN

    def begin_turn(self) -> None:
        """Allow another turn for input already received."""
        self._turn_left = TURN

    @property
    def has_more(self) -> bool:
        """Whether the turn is over and input remains for the next one."""
        if self._turn_left or self.awaited is not None or self.closed:
            return False
        return self.unread > 0 or self._message.wants(0)

    def next_event(self) -> SmtpEvent | None:
        """Return the next event; None while more bytes, an answer or another turn are needed."""
        while self._turn_left and self.awaited is None and not self.closed:
            if self._message.wants(self.unread):
                self._turn_left -= 1
                event = self._next_of_message()
                if event is not None:
                    return event
                continue
            if not self.unread:
                break
            self._turn_left -= 1
            line = self._next_line()
            if line is None:
                break
            event = self._command(line) if self._exchange is None else self._auth_line(line)
            if event is not None:
                if event.needs_decision:
                    self.awaited = event
                return event
        return None

    def answer(self, verdict: Decision) -> None:
        """Apply the decision on the awaited event."""
        event, self.awaited = self.awaited, None
        self._flush_reply(*verdict.lines)
        if verdict.lines and not verdict.note and type(event) is not BodyKind:
            self._note_refusal(verdict.lines[-1], event.credentials.user if isinstance(event, AuthEvent) else None)
        if verdict.close:
            self.closed = True
            self.closing_reply = verdict.lines[-1] if verdict.lines else b""
        if verdict.address is not None:
            self.last_address = verdict.address
        if verdict.accepted:
            _CONSEQUENCES[type(event)](self, event, verdict)

    def close(self, line: bytes) -> None:
        """End the session from our side, with a last line."""
        if not self.closed:
            self._flush_reply(line)
            self.closed = True
            self.closing_reply = line

    def tls_started(self) -> None:
        """Continue after the TLS handshake; discard all earlier client state (RFC 3207 section 4.2)."""
        self.is_secure = True
        self.authenticated = self.extended = False
        self.helo = self._first_helo
        self.last_address = None
        self._reset()

    def _reset(self) -> bool:
        """Clear the transaction; return whether there was one, or a message in chunks.

        This is the only way a transaction ends without a message: RSET, HELO, EHLO, MAIL, TLS.
        """
        was_there = self._message.is_in_chunks or self.in_transaction
        self.in_transaction = False
        self._message.drop_chunks()
        self.sender: bytes | None = None
        self.recipients: list[bytes] = []
        self.dsn: DsnParameters | None = None
        return was_there

    def take_refusals(self) -> list[Refusal]:
        """Return the commands refused since the last call."""
        refusals, self.refusals = self.refusals, []
        return refusals

    def take_output(self) -> bytes:
        """Return everything to send since the last call."""
        out, self._out = self._out, []
        if not out:
            return b""
        out.append(b"")
        return b"\r\n".join(out)

    # --- input

    def _next_line(self) -> bytes | None:
        """Return the next line without its end."""
        while True:
            start = self._position
            end = self._buffer.find(b"\n", start)
            if end < 0:
                if len(self._buffer) - start > MAX_LINE:
                    self._is_skipping = True
                if self._is_skipping:
                    self._position = len(self._buffer)
                return None
            self._position = end + 1
            if not self._is_skipping and end - start <= MAX_LINE:
                break
            self._is_skipping = False
            self._exchange = None
            self._flush_reply(reply.LINE_TOO_LONG)
        line = self._buffer[start:end]
        return line[:-1] if line[-1:] == b"\r" else line

    def _next_of_message(self) -> SmtpEvent | None:
        """Process the next bytes of a message; None for bytes that are discarded."""
        try:
            body, self._position = self._message.take(self._buffer, self._position)
        except BareNewline:
            self.close(reply.BARE_NEWLINE)
            return BROKEN
        if body is not None and body.is_last:
            self.awaited = body
        elif body is not None and body.ends_chunk:
            self._flush_reply(reply.OK)
        return body

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
        if self._message.is_in_chunks and act not in _BETWEEN_CHUNKS:
            return self._reply(reply.CHUNK_EXPECTED)
        if act is not ServerProtocol._rcpt:
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
        event = self._rules.mail(address, behind, argument)
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
        return None if self._message.is_in_chunks else self._data(b"")

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

    def _auth(self, argument: bytes) -> SmtpEvent | None:
        word, _, initial = argument.partition(b" ")
        method = word.lower()
        rejection_reason = self._rules.auth_objection(method, self.is_secure, self.authenticated, self.in_transaction)
        if rejection_reason is not None:
            return self._reply(rejection_reason)
        self._exchange = SaslExchange(method, self.make_challenge() if method == CRAM_MD5 else b"")
        return self._auth_step(self._exchange.begin(initial.strip(b" ")))

    def _auth_line(self, line: bytes) -> SmtpEvent | None:
        assert self._exchange is not None
        return self._auth_step(self._exchange.receive(line))

    def _auth_step(self, answer: bytes | Credentials) -> SmtpEvent | None:
        if not is_challenge(answer):
            self._exchange = None
        if isinstance(answer, Credentials):
            return AuthEvent(answer)
        return self._reply(answer)

    # --- consequences of an accepted event

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

    def _begin_tls(self, event: SmtpEvent, verdict: Decision) -> None:
        """Do nothing: the handshake is what matters."""

    def _end_body(self, event: SmtpEvent, verdict: Decision) -> None:
        """The envelope ended when the body began; a client with a message is not idle."""
        self._commands = 0

    def _authenticated(self, event: SmtpEvent, verdict: Decision) -> None:
        self.authenticated = True

    # --- helpers

    def _flush_reply(self, *lines: bytes) -> None:
        """Send a reply and count errors."""
        if self._rules.enhanced_status_codes:
            lines = tuple(map(reply.with_status, lines))
        self._out += lines
        if self._rules.max_errors:
            self._errors += sum(line[:1] in (b"4", b"5") for line in lines)
            if self._errors > self._rules.max_errors and not self.closed:
                self.closed = True
                self.closing_reply = reply.TOO_MANY_ERRORS
                self._flush_reply(self.closing_reply)

    def _reply(self, line: bytes) -> SmtpEvent | None:
        self._flush_reply(line)
        self._note_refusal(line, None)
        return None

    def _note_refusal(self, line: bytes, user: bytes | None) -> None:
        if line[:1] in (b"4", b"5") and line[:3] not in _OF_DISORDER:
            recipient = None if self._names_sender or user is not None else self.last_address
            sender = self.last_address if self._names_sender and user is None else self.sender
            self.refusals.append(Refusal(line, sender, recipient, user))

    def _address(self, argument: bytes) -> tuple[bytes | None, bytes]:
        """Parse the argument of MAIL or RCPT to the address and the text after it."""
        address, behind = self._rules.read_address(argument)
        if address is None:
            return None, b""
        self.last_address = address
        return address, behind


_VERBS: "dict[bytes, Callable[[ServerProtocol, bytes], SmtpEvent | None]]" = {
    b"HELO": ServerProtocol._helo,
    b"EHLO": ServerProtocol._ehlo,
    b"MAIL": ServerProtocol._mail,
    b"RCPT": ServerProtocol._rcpt,
    b"DATA": ServerProtocol._data,
    b"BDAT": ServerProtocol._bdat,
    b"RSET": ServerProtocol._rset,
    b"NOOP": ServerProtocol._noop,
    b"VRFY": ServerProtocol._vrfy,
    b"HELP": ServerProtocol._help,
    b"QUIT": ServerProtocol._quit,
    b"STARTTLS": ServerProtocol._starttls,
    b"AUTH": ServerProtocol._auth,
}

_WITH_ADDRESS = (ServerProtocol._mail, ServerProtocol._rcpt)

_BETWEEN_CHUNKS = (
    ServerProtocol._bdat,
    ServerProtocol._rset,
    ServerProtocol._helo,
    ServerProtocol._ehlo,
    ServerProtocol._noop,
    ServerProtocol._help,
    ServerProtocol._vrfy,
    ServerProtocol._quit,
)

_CONSEQUENCES: "dict[type[SmtpEvent | None], Callable[[ServerProtocol, Any, Decision], None]]" = {
    Connected: ServerProtocol._hello_answered,
    Hello: ServerProtocol._connect_answered,
    Mail: ServerProtocol._open_transaction,
    Recipient: ServerProtocol._add_recipient,
    Data: ServerProtocol._begin_body,
    BodyKind: ServerProtocol._end_body,
    StartTls: ServerProtocol._begin_tls,
    AuthEvent: ServerProtocol._authenticated,
}
