"""Parse and check the replies of a milter.

Source: libmilter of Sendmail 8.17 (smfi_setreply, smfi_setmlreply); RFC 5321 section 4.2.
"""

from eqmail_core.filters.milter import packets as wire
from eqmail_core.filters.milter.packets import MilterProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from eqmail_core.filters.milter.modifications import Change

BROKEN = b"!"
"""The kind of a missing reply; `MilterReply.text` gives the reason."""

REJECTED = b"550 5.7.1 Command rejected"
TRY_LATER = b"451 4.7.1 Service unavailable - try again later"
CLOSING = b"421 4.7.0 Service unavailable - closing"

_MAX_REPLY_LINES = 32
_MAX_REPLY_LINE = 512
_CONTROLS = bytes([*range(32), 127])


class MilterReply:
    """The reply of a milter to a question.

    `kind`: CONTINUE, ACCEPT, DISCARD (of `milter.packets`), REJECT with the SMTP reply `lines`, or BROKEN with
    `text` for the log.  `changes`, in order, and `has_body`: the modifications of the message.
    """

    __slots__ = ("changes", "has_body", "kind", "lines", "text")

    def __init__(self, kind: bytes, lines: "list[bytes] | None" = None, text: str = "") -> None:
        self.kind = kind
        self.lines = lines or []
        self.text = text
        self.changes: list[Change] = []
        self.has_body = False


def read_verdict(letter: bytes, payload: bytes) -> MilterReply:
    """Parse a packet with one of `VERDICTS`.  Fails: MilterProtocolError for an invalid reply."""
    return (
        MilterReply(letter)
        if letter in (wire.ACCEPT, wire.DISCARD)
        else MilterReply(wire.REJECT, _REPLIES[letter](payload))
    )


def _reply(payload: bytes) -> list[bytes]:
    """Parse an SMTP reply made by the milter: code, hyphen or space, printable text."""
    lines = payload.partition(b"\0")[0].replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")
    code = lines[0][:3]
    if len(lines) > _MAX_REPLY_LINES or len(code) < 3 or not code.isdigit() or code[:1] not in (b"4", b"5"):
        raise MilterProtocolError("a reply that is none")
    texts = []
    for line in lines:
        if line[:3] != code or len(line) > _MAX_REPLY_LINE or line[3:4] not in (b"", b" ", b"-"):
            raise MilterProtocolError("a reply that is none")
        texts.append(line[4:].translate(None, _CONTROLS))
    return [code + b"-" + text for text in texts[:-1]] + [code + b" " + texts[-1]]


_REPLIES: "dict[bytes, Callable[[bytes], list[bytes]]]" = {
    wire.REJECT: lambda payload: [REJECTED],
    wire.TEMPFAIL: lambda payload: [TRY_LATER],
    wire.SHUTDOWN: lambda payload: [CLOSING],
    wire.REPLY_CODE: _reply,
}
VERDICTS = frozenset((wire.ACCEPT, wire.DISCARD, *_REPLIES))
"""The letters that end a question."""
