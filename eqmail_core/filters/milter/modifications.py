"""Modifications of a message by a milter: parsed from packets, checked, and bounded.

A change is a tuple of its letter (`milter.packets`) and its data, see `read_change`.  No change can break a header or
an envelope: line ends within a value begin a continuation line, control characters are dropped.

Source: libmilter of Sendmail 8.17 (smfi_addheader, smfi_insheader, smfi_chgheader, smfi_chgfrom, smfi_addrcpt).
"""

from eqmail_core.dsn.smtp_parameters import BadParameter, read_mail, read_recipient
from eqmail_core.filters.milter import packets as wire
from eqmail_core.mail.header import is_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Change = tuple[bytes, int, bytes, bytes]

MAX_CHANGES = 1000
"""Maximum number of changes of one message by one milter.

A body in any number of pieces counts as one.
"""

MAX_CHANGE_BYTES = 1 << 20
"""Maximum total size of the changes in bytes, without the body."""

_MAX_ADDRESS = 1000
_CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n") + b"\x7f"
_ADDRESSES = (wire.ADD_RECIPIENT, wire.ADD_RECIPIENT_PARAMETERS, wire.DELETE_RECIPIENT, wire.CHANGE_SENDER)
# Parsers of the parameters after an address, for commands that have some.
_PARAMETERS: "dict[bytes, Callable[[bytes], object]]" = {
    wire.ADD_RECIPIENT_PARAMETERS: read_recipient,
    wire.CHANGE_SENDER: lambda text: read_mail(text, True, True),
}
HEADERS = (wire.ADD_HEADER, wire.INSERT_HEADER, wire.CHANGE_HEADER)


def read_change(letter: bytes, payload: bytes) -> "Change":
    """Parse the change in a packet: letter, index, name or address, value.

    Of headers: index (0 for ADD_HEADER), name and value without the space after the colon.  Of addresses: 0, the
    address without < and >, and the parameters as in an SMTP command.  QUARANTINE: 0, the reason, b"".
    Fails: MilterProtocolError for an invalid packet.
    """
    if letter in HEADERS:
        return _read_header(letter, payload)
    words = wire.split_texts(payload)
    if letter in _ADDRESSES:
        address = (words[0] if words else b"").strip()
        if address[:1] == b"<" and address[-1:] == b">":
            address = address[1:-1]
        has_controls = b"\n" in address or _without_controls(address) != address
        if has_controls or len(address) > _MAX_ADDRESS or not (address or letter == wire.CHANGE_SENDER):
            raise wire.MilterProtocolError("an address that is none")
        return letter, 0, address, _parameters(letter, words[1:])
    return letter, 0, _without_controls(words[0] if words else b"").replace(b"\n", b" "), b""


def _parameters(letter: bytes, words: list[bytes]) -> bytes:
    read = _PARAMETERS.get(letter)
    if read is None:
        return b""
    text = b" ".join(words)
    try:
        read(text)
    except BadParameter as error:
        raise wire.MilterProtocolError("parameters that make no sense") from error
    return text


def _read_header(letter: bytes, payload: bytes) -> "Change":
    index = 0
    if letter != wire.ADD_HEADER:
        if len(payload) < 4:
            raise wire.MilterProtocolError("a header without its place")
        index, payload = int.from_bytes(payload[:4], "big"), payload[4:]
    words = wire.split_texts(payload + b"\0")
    if len(words) < 2 or b":" in words[0] or not is_field(words[0] + b":"):
        raise wire.MilterProtocolError("a header that is none")
    return letter, index, words[0], folded(words[1])


def folded(value: bytes) -> bytes:
    """Return a folded value: lines end in LF, none is empty, no control characters."""
    first, *more = _without_controls(value.replace(b"\r\n", b"\n").replace(b"\r", b"\n")).split(b"\n")
    kept = [line if line[:1] in (b" ", b"\t") else b"\t" + line for line in more if line.strip()]
    return b"\n".join([first, *kept])


class NewBody:
    """A replacement body from a milter; at most `room` bytes, CRLF becomes LF.

    `has_begun`: there is one, though it may be empty.
    """

    __slots__ = ("_carry", "_pieces", "_room", "has_begun")

    def __init__(self, room: int) -> None:
        self._carry = b""
        self._pieces: list[bytes] = []
        self._room = room
        self.has_begun = False

    def receive(self, piece: bytes) -> None:
        """Add a piece.  Fails: MilterProtocolError if it is too large."""
        self.has_begun = True
        self._room -= len(piece)
        if self._room < 0:
            raise wire.MilterProtocolError("a new body that is too long")
        piece = self._carry + piece
        self._carry = piece[-1:] if piece.endswith(b"\r") else b""
        self._pieces.append(piece.removesuffix(self._carry).replace(b"\r\n", b"\n"))

    def end(self) -> None:
        """End the body."""
        self._pieces.append(self._carry)
        self._carry = b""

    def take(self) -> bytes:
        """Return the bytes received since the last call."""
        text = b"".join(self._pieces)
        self._pieces.clear()
        return text


def _without_controls(text: bytes) -> bytes:
    return text.translate(None, _CONTROLS)
