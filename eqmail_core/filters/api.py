"""The interface for authors of Python checks: input and possible answers of a check.

A check is an object with any of the methods `connected`, `hello`, `mail`, `recipient`, `data` and `message`, plain or
`async`.  Each gets a Context and returns None (no verdict), one of the answers here, or a list of them.  A distribution
offers it as an entry point of the group `eqmail.smtp`; a class is called once, without arguments, to make the object.

Texts are str; bytes that are not UTF-8 become surrogates, as in file names (PEP 383).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from eqmail_core.filters.message import FilteredMessage
from eqmail_core.filters.verdict import ACCEPT, CONTINUE, REFUSE, FilterQuery, FilterVerdict
from eqmail_core.mail.header import field_text, is_field

GROUP = "eqmail.smtp"
"""The group of entry points."""

_MAX_TEXT = 400
_CONTROLS = dict.fromkeys([*range(32), 127])


@dataclass(frozen=True, slots=True)
class Accept:
    """Skip the other checks.

    The server's own checks still apply, unless `relay` is set explicitly.  `relay=True` lets the client relay: returned
    from `connected` or `hello` for the whole session, from `mail` for the message, from `recipient` for this recipient.
    """

    relay: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """Refuse permanently; the client gets this text."""

    text: str = "refused by policy"
    code: int = 550
    status: str = "5.7.1"


@dataclass(frozen=True, slots=True)
class Defer:
    """Refuse temporarily; the client should try again later."""

    text: str = "try again later"
    code: int = 451
    status: str = "4.7.1"


@dataclass(frozen=True, slots=True)
class AddHeader:
    """Add a header field at the top of the message, below the server's Received line."""

    name: str
    value: str


Answer = Accept | Refuse | Defer | AddHeader


class Message:
    """A complete message; `size` in bytes, lines end in LF."""

    __slots__ = ("_message",)

    def __init__(self, message: FilteredMessage) -> None:
        self._message = message

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self._message.size

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The names and values of the header fields in order; a value keeps the line ends within it."""
        fields = self._message.header.fields
        return [
            (_text(field.partition(b":")[0].rstrip(b" \t")), _text(field_text(field).removesuffix(b"\n")))
            for field in fields
        ]

    def pieces(self) -> Iterator[bytes]:
        """Yield the whole message, in pieces."""
        return self._message.pieces()

    def body(self) -> Iterator[bytes]:
        """Yield the body, in pieces."""
        return self._message.body_pieces()


@dataclass(frozen=True, slots=True)
class Context:
    """The state of the session, read-only.

    `ip` of the client ("" if unknown), `host`: its name or its address in brackets; `helo`: None before HELO; `tls` and
    `cipher`: None in plain text; `user`: None without AUTH; `sender`: None outside a transaction; `recipients`: those
    accepted so far; `recipient`: the current one (only for `recipient`); `message`: only for `message`.
    """

    ip: str
    host: str
    port: int
    local_ip: str
    local_port: int
    helo: str | None
    is_esmtp: bool
    tls: str | None
    cipher: str | None
    user: str | None
    may_relay: bool
    sender: str | None
    recipients: tuple[str, ...]
    recipient: str | None
    message: Message | None


def context_of(question: FilterQuery) -> Context:
    """Build the context of a check."""
    info = question.info
    tls_session = info.tls_session
    return Context(
        ip=_text(info.ip),
        host=_text(info.host),
        port=info.port,
        local_ip=_text(info.local_ip),
        local_port=info.local_port,
        helo=None if info.helo is None else _text(info.helo),
        is_esmtp=info.is_extended,
        tls=None if tls_session is None else _text(tls_session.version),
        cipher=None if tls_session is None else _text(tls_session.cipher),
        user=None if info.user is None else _text(info.user),
        may_relay=info.may_relay,
        sender=None if info.sender is None else _text(info.sender),
        recipients=tuple(map(_text, info.recipients)),
        recipient=_text(info.address) if question.stage == "recipient" else None,
        message=None if question.message is None else Message(question.message),
    )


def verdict_of(answer: object) -> FilterVerdict:
    """Convert what a check returned to a verdict.

    Fails: TypeError, ValueError for an invalid answer.
    """
    verdict = FilterVerdict()
    for part in answer if isinstance(answer, list | tuple) else [answer]:
        if isinstance(part, AddHeader):
            verdict.headers.append(_header(part))
        elif isinstance(part, Accept):
            verdict.kind = ACCEPT if verdict.kind == CONTINUE else verdict.kind
            verdict.relays = verdict.relays or part.relay is True
        elif isinstance(part, Refuse | Defer):
            verdict.kind, verdict.lines = REFUSE, [_reply(part)]
        elif part is not None:
            raise TypeError(f"returned {type(part).__name__}, which is no answer")
    return verdict


def _reply(answer: Refuse | Defer) -> bytes:
    first = "5" if isinstance(answer, Refuse) else "4"
    if (
        not str(answer.code).startswith(first)
        or len(str(answer.code)) != 3
        or not answer.status.startswith(first + ".")
    ):
        raise ValueError(f"{type(answer).__name__} with code {answer.code} and status {answer.status}")
    text = str(answer.text).translate(_CONTROLS)[:_MAX_TEXT]
    return f"{answer.code} {text} (#{answer.status})".encode("ascii", "replace")


def _header(answer: AddHeader) -> bytes:
    name = answer.name.encode("ascii")
    if b":" in name or not is_field(name + b":"):
        raise ValueError(f"no name of a header field: {answer.name!r}")
    lines = answer.value.encode("utf-8", "surrogateescape").replace(b"\r", b"").split(b"\n")
    return name + b": " + b"\n\t".join(line.strip() for line in lines if line.strip())


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
