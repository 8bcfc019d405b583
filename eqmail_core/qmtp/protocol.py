"""The server sides of QMTP and QMQP: messages as netstrings; no I/O.

Both are `Reader`s: `receive` bytes in any fragmentation, take `next_event` until it is None.

    QMTP   message "," sender "," recipients ","     again and again; the first byte of a message tells LF or CRLF lines
    QMQP   one netstring with message, sender and recipients in it

Fails: BadFraming, when what comes is neither; TooLong, for a netstring beyond MAX_LENGTH.
Source: smtp-server.md 4.10, 4.11; cr.yp.to/proto/qmtp.txt, qmqp.html.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    Steps = Generator["QmtpEvent | None", None, None]

MAX_LENGTH = 200_000_000
"""Longest netstring that is read, in bytes."""

MAX_ADDRESS = 999
"""Longest address that is kept, in bytes; a longer one, or one with a line end or NUL, makes an event without one."""

BEGIN, TEXT, SENDER, RECIPIENT, END = "begin", "text", "sender", "recipient", "end"

_COLON, _COMMA = 58, 44
_UNUSABLE = frozenset(b"\0\r\n")


class BadFraming(Exception):
    """What came is no netstring where one must be."""


class NoLength(BadFraming):
    """A netstring begins with something that is no number."""


class NetstringTooLong(Exception):
    """A netstring that nobody should send."""


class QmtpEvent:
    """BEGIN of a message; TEXT, a piece of it; SENDER and RECIPIENT, None where unusable; END of its envelope."""

    __slots__ = ("kind", "value")

    def __init__(self, kind: str, value: bytes | None = None) -> None:
        self.kind = kind
        self.value = value


class Reader:
    """A stream of events out of a stream of bytes; holds no more than was received and one address."""

    def __init__(self) -> None:
        self._buffer = b""
        self._position = 0
        self._left: int | None = None
        self._steps = self._run()

    def receive(self, data: bytes) -> None:
        """Take bytes."""
        self._buffer = self._buffer[self._position :] + data
        self._position = 0

    def next_event(self) -> QmtpEvent | None:
        """The next event, None while more bytes are needed."""
        return next(self._steps, None)

    def _run(self) -> "Steps":
        raise NotImplementedError

    # --- pieces of a netstring; each waits, by yielding None, until the bytes are there

    def _take(self, at_most: int) -> "Generator[QmtpEvent | None, None, bytes]":
        """At least one and at most so many bytes; of an outer netstring, no more than it has."""
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
        """A message of so many bytes as TEXT events."""
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
        """An address of so many bytes as an event."""
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
    """The messages of a QMTP client."""

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
    """The message of a QMQP client."""

    def _run(self) -> "Steps":
        self._left = yield from self._length()
        try:
            yield from self._mail()
        except NoLength:
            # As C, which finds out when the outer netstring is over: a client that goes before that has just gone.
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
