"""Events of an SMTP session and the decisions on them: the interface of machine and driver.

Source: smtp-server.md 4.2; RFC 5321 section 4.1.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from eqmail_core.auth.credentials import Credentials
    from eqmail_core.auth.scram import ScramKeys
    from eqmail_core.dsn.parameters import DsnParameters, RecipientDsn


class SmtpEvent:
    """An event of the session; `needs_decision` marks those that wait for `answer`."""

    __slots__ = ()
    needs_decision = True
    restarts = False


class Connected(SmtpEvent):
    """The session begins; a refusal only suppresses the greeting."""

    __slots__ = ()


class Hello(SmtpEvent):
    """HELO, or EHLO where `extended`; `restarts`: it ended a transaction."""

    __slots__ = ("extended", "name", "restarts")

    def __init__(self, name: bytes, extended: bool, restarts: bool = False) -> None:
        self.name = name
        self.extended = extended
        self.restarts = restarts


class Mail(SmtpEvent):
    """MAIL: the sender, the identity of AUTH=, and the DSN parameters; None where absent.

    `parameters`: all words after the address, as received but without control characters.  `restarts`: as in Hello.
    """

    __slots__ = ("address", "dsn", "identity", "parameters", "restarts")

    def __init__(
        self,
        address: bytes,
        identity: bytes | None,
        dsn: "DsnParameters | None" = None,
        parameters: "Sequence[bytes]" = (),
        restarts: bool = False,
    ) -> None:
        self.address = address
        self.restarts = restarts
        self.identity = identity
        self.dsn = dsn
        self.parameters = parameters


class Recipient(SmtpEvent):
    """RCPT: the recipient and its DSN parameters, None if absent; `parameters` as in Mail."""

    __slots__ = ("address", "dsn", "parameters")

    def __init__(self, address: bytes, dsn: "RecipientDsn | None" = None, parameters: "Sequence[bytes]" = ()) -> None:
        self.address = address
        self.dsn = dsn
        self.parameters = parameters


class Data(SmtpEvent):
    """DATA, in a transaction with recipients; accepting it begins the body."""

    __slots__ = ()


class BodyPiece(SmtpEvent):
    """A piece of the message: LF-terminated lines, cut anywhere; the last one needs a decision.

    `ends_chunk`: the client waits for a reply to this piece, and another one follows.
    """

    __slots__ = ("ends_chunk", "is_last", "text")

    def __init__(self, text: bytes, is_last: bool, ends_chunk: bool = False) -> None:
        self.text = text
        self.is_last = is_last
        self.ends_chunk = ends_chunk

    @property
    def needs_decision(self) -> bool:  # type: ignore[override]  # the same attribute, read only
        """Whether the message is complete."""
        return self.is_last


class AuthEvent(SmtpEvent):
    """The client sent credentials."""

    __slots__ = ("credentials",)

    def __init__(self, credentials: "Credentials") -> None:
        self.credentials = credentials


class AuthLookup(SmtpEvent):
    """The client says who it is, by SCRAM: the keys of `user` are needed (KeysFound)."""

    __slots__ = ("user",)

    def __init__(self, user: bytes) -> None:
        self.user = user


class Reset(SmtpEvent):
    """RSET: the transaction is cleared."""

    __slots__ = ()
    needs_decision = False


class StartTls(SmtpEvent):
    """STARTTLS.

    If accepted, plain text ends and `ServerProtocol.tls_started` restarts the session.
    """

    __slots__ = ()


class BareNewlineEvent(SmtpEvent):
    """An LF without CR in a body: the session is over, and the message must be discarded."""

    __slots__ = ()
    needs_decision = False


class Refusal:
    """A refused command: the reply and the addresses concerned.

    `user` is the login name of a failed AUTH.
    """

    __slots__ = ("line", "recipient", "sender", "user")

    def __init__(self, line: bytes, sender: bytes | None, recipient: bytes | None, user: bytes | None) -> None:
        self.line = line
        self.sender = sender
        self.recipient = recipient
        self.user = user


CONNECTED, DATA, RESET, STARTTLS, BROKEN = Connected(), Data(), Reset(), StartTls(), BareNewlineEvent()


class Decision:
    """The answer to an event: accepted or not, the reply lines, and their effects.

    `address` replaces the current address; `header` is prepended to the message (with DATA); `close` ends the session;
    `note` is the log text, b"" for none.
    """

    __slots__ = ("accepted", "address", "close", "header", "lines", "note")

    def __init__(
        self,
        accepted: bool,
        lines: list[bytes],
        address: bytes | None = None,
        header: bytes = b"",
        close: bool = False,
        note: bytes = b"",
    ) -> None:
        self.accepted = accepted
        self.lines = lines
        self.address = address
        self.header = header
        self.close = close
        self.note = note


class KeysFound(Decision):
    """The answer to AuthLookup: the keys of the user."""

    __slots__ = ("keys",)

    def __init__(self, keys: "ScramKeys") -> None:
        super().__init__(True, [])
        self.keys = keys
