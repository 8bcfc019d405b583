"""The server sides of QMTP and QMQP: messages as netstrings; no I/O.

Both are `Reader`s: `receive` bytes in any fragmentation, call `next_event` until it is None.

    QMTP   message "," sender "," recipients ","     repeated; the first byte of a message announces LF or CRLF lines
    QMQP   one netstring that contains message, sender and recipients

Fails: BadFraming for input that is neither; NetstringTooLong for a netstring beyond MAX_LENGTH.
Source: smtp-server.md 4.10, 4.11; cr.yp.to/proto/qmtp.txt, qmqp.html.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    Steps = Generator["QmtpEvent | None", None, None]

MAX_LENGTH = 200_000_000
"""Longest accepted netstring, in bytes."""

MAX_ADDRESS = 999
"""Longest accepted address, in bytes.

The event of a longer one, or of one with CR, LF or NUL, has value None.
"""

BEGIN, TEXT, SENDER, RECIPIENT, END = "begin", "text", "sender", "recipient", "end"

_COLON, _COMMA = 58, 44
_UNUSABLE = frozenset(b"\0\r\n")


class BadFraming(Exception):
    """The input has no valid netstring where one must be."""


class NoLength(BadFraming):
    """A netstring does not begin with a number."""


class NetstringTooLong(Exception):
    """A netstring is longer than the limit."""


class QmtpEvent:
    """BEGIN of a message; TEXT, a piece of it; SENDER, RECIPIENT; END of its envelope.

    The value of SENDER and RECIPIENT is None for an unusable address.
    """

    __slots__ = ("kind", "value")

    def __init__(self, kind: str, value: bytes | None = None) -> None:
        self.kind = kind
        self.value = value


class Reader:
    """Converts bytes into events; holds only the received bytes and one address."""

    def __init__(self) -> None:
        self._buffer = b""
        self._position = 0
        self._left: int | None = None
        self._steps = self._run()

    def receive(self, data: bytes) -> None:
        """Accept bytes."""
        self._buffer = self._buffer[self._position :] + data
        self._position = 0

    def next_event(self) -> QmtpEvent | None:
        """The next event; None while more bytes are needed."""
        return next(self._steps, None)

    def _run(self) -> "Steps":
        raise NotImplementedError

    # --- Parts of a netstring; each yields None until its bytes have arrived.

    def _take(self, at_most: int) -> "Generator[QmtpEvent | None, None, bytes]":
        """At least one and at most `at_most` bytes, but none beyond the outer netstring."""
        if self._left is not None:
            if not self._left:
                raise BadFraming
            at_most = min(at_most, self._left)
        while self._position >= len(self._buffer):
            yield None
        piece = self._buffer[self._position : self._position + at_most]
        self._position += len(piece)
        if self._left is not None:
            self._left -= len(piece)
        return piece

    def _length(self) -> "Generator[QmtpEvent | None, None, int]":
        length = 0
        while True:
            digit = (yield from self._take(1))[0]
            if digit == _COLON:
                return length
            if not 48 <= digit <= 57:
                raise NoLength
            length = 10 * length + digit - 48
            if length > MAX_LENGTH:
                raise NetstringTooLong

    def _comma(self) -> "Steps":
        if (yield from self._take(1))[0] != _COMMA:
            raise BadFraming

    def _text(self, length: int, is_dos: bool) -> "Steps":
        """The next `length` bytes of a message as TEXT events."""
        held = b""
        while length:
            piece = yield from self._take(length)
            length -= len(piece)
            if is_dos:
                piece = held + piece
                held = piece[-1:] if piece.endswith(b"\r") and length else b""
                piece = (piece[:-1] if held else piece).replace(b"\r\n", b"\n")
            if piece:
                yield QmtpEvent(TEXT, piece)

    def _address(self, kind: str, length: int) -> "Steps":
        """An address of `length` bytes as an event."""
        pieces = []
        left = length
        while left:
            piece = yield from self._take(left)
            left -= len(piece)
            if length <= MAX_ADDRESS:
                pieces.append(piece)
        address = b"".join(pieces)
        is_usable = length <= MAX_ADDRESS and _UNUSABLE.isdisjoint(address)
        yield QmtpEvent(kind, address if is_usable else None)


class QmtpReader(Reader):
    """Reads the messages of a QMTP client."""

    def _run(self) -> "Steps":
        while True:
            length = yield from self._length()
            if not length:
                raise BadFraming
            mark = yield from self._take(1)
            if mark not in (b"\n", b"\r"):
                raise BadFraming
            yield QmtpEvent(BEGIN)
            yield from self._text(length - 1, mark == b"\r")
            yield from self._comma()
            yield from self._address(SENDER, (yield from self._length()))
            yield from self._comma()
            self._left = yield from self._length()
            while self._left:
                yield from self._address(RECIPIENT, (yield from self._length()))
                yield from self._comma()
            self._left = None
            yield from self._comma()
            yield QmtpEvent(END)


class QmqpReader(Reader):
    """Reads the message of a QMQP client."""

    def _run(self) -> "Steps":
        self._left = yield from self._length()
        try:
            yield from self._mail()
        except NoLength:
            # As in C, which reports this at the end of the outer netstring.  A client that closes earlier is a lost
            # connection.
            while self._left:
                yield from self._take(self._left)
            raise

    def _mail(self) -> "Steps":
        yield QmtpEvent(BEGIN)
        yield from self._text((yield from self._length()), False)
        yield from self._comma()
        yield from self._address(SENDER, (yield from self._length()))
        yield from self._comma()
        while self._left:
            yield from self._address(RECIPIENT, (yield from self._length()))
            yield from self._comma()
        self._left = None
        yield from self._comma()
        yield QmtpEvent(END)
