"""What happens in an SMTP conversation, and how it is decided: the words between the machine and who drives it.

Source: smtp-server.md 4.2; RFC 5321 section 4.1.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from eqmail_core.auth.credentials import Credentials
    from eqmail_core.dsn.parameters import DsnParameters, RecipientDsn


class SmtpEvent:
    """Something that happened in the conversation; those that need a verdict say so."""

    __slots__ = ()
    needs_decision = True
    restarts = False


class Connected(SmtpEvent):
    """The conversation begins; refusing suppresses the greeting, no more."""

    __slots__ = ()


class Hello(SmtpEvent):
    """HELO, or EHLO where `extended`; `restarts`: it ended a transaction."""

    __slots__ = ("extended", "name", "restarts")

    def __init__(self, name: bytes, extended: bool, restarts: bool = False) -> None:
        self.name = name
        self.extended = extended
        self.restarts = restarts


class Mail(SmtpEvent):
    """MAIL: a sender, the identity in its AUTH parameter, and wishes of the sender; None where there are none.

    `parameters` are all words behind the address, as they came but for control characters.  `restarts`: as in Hello.
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
    """RCPT: a recipient, and what the sender wishes about it; None for nothing; `parameters` as in Mail."""

    __slots__ = ("address", "dsn", "parameters")

    def __init__(self, address: bytes, dsn: "RecipientDsn | None" = None, parameters: "Sequence[bytes]" = ()) -> None:
        self.address = address
        self.dsn = dsn
        self.parameters = parameters


class Data(SmtpEvent):
    """DATA, in a transaction with recipients; accepting it begins the body."""

    __slots__ = ()


class BodyKind(SmtpEvent):
    """A piece of the message: lines that end in LF, cut anywhere; the last one needs a verdict on the message.

    `ends_chunk`: the client waits for a word about this piece, and another one follows.
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
    """A client has named itself."""

    __slots__ = ("credentials",)

    def __init__(self, credentials: "Credentials") -> None:
        self.credentials = credentials


class Reset(SmtpEvent):
    """RSET: nothing of the transaction is left."""

    __slots__ = ()
    needs_decision = False


class StartTls(SmtpEvent):
    """STARTTLS; accepting it ends plain text, `SmtpServer.secure` begins the conversation anew."""

    __slots__ = ()


class BareNewlineEvent(SmtpEvent):
    """A LF without CR in a body: the conversation is over, and no message may be made of what was sent."""

    __slots__ = ()
    needs_decision = False


class Refusal:
    """A command that was refused: the reply, and whom it was about; `user` is who tried to log in."""

    __slots__ = ("line", "recipient", "sender", "user")

    def __init__(self, line: bytes, sender: bytes | None, recipient: bytes | None, user: bytes | None) -> None:
        self.line = line
        self.sender = sender
        self.recipient = recipient
        self.user = user


CONNECTED, DATA, RESET, STARTTLS, BROKEN = Connected(), Data(), Reset(), StartTls(), BareNewlineEvent()


class Decision:
    """The answer to an event: accepted or not, the reply lines, and what else follows from it.

    `address` replaces the address in hand; `header` goes before the message (with DATA); `close`: no more after this;
    `note` is what the log says of it, b"": nothing.
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
