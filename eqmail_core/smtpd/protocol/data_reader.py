"""Decode the messages of an SMTP session: up to a dot (DATA), or in chunks (BDAT).

Source: RFC 5321 section 4.1.1.4; RFC 3030 section 2.
"""

from eqmail_core.smtp.data import ChunkDecoder, DotUnstuffer
from eqmail_core.smtpd.protocol.events import BodyPiece


class DataReader:
    """Reads one message after another.

    `chunks`: the message that comes in chunks, if one is open; the rest of it can only come in chunks.
    The bytes of a chunk without a message are counted and discarded.
    """

    __slots__ = ("_dotted", "_is_last", "_left", "chunks")

    def __init__(self) -> None:
        self._dotted: DotUnstuffer | None = None
        self.chunks: ChunkDecoder | None = None
        # A number while a chunk is being read: its remaining bytes.
        self._left: int | None = None
        self._is_last = False

    @property
    def is_open(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._dotted is not None or self.chunks is not None

    def begin(self) -> bool:
        """Begin a message; True if it comes in the announced chunk, False if it ends with a dot."""
        if self._left is not None:
            self.chunks = ChunkDecoder()
            return True
        self._dotted = DotUnstuffer()
        return False

    def announce(self, size: int, is_last: bool) -> None:
        """Announce a chunk of `size` bytes."""
        self._left = size
        self._is_last = is_last

    def wants(self, unread: int) -> bool:
        """Whether the next input, of `unread` bytes, belongs to a message or chunk."""
        if self._left is not None:
            return unread > 0 or not self._left
        return self._dotted is not None and unread > 0

    def take(self, buffer: bytes, position: int) -> tuple[BodyPiece | None, int]:
        """Decode the bytes from `position` on; return the piece and the position after it.

        The piece is None for bytes that are discarded.
        Fails: BareNewline.
        """
        if self._left is not None:
            return self._take_chunk(buffer, position, self._left)
        assert self._dotted is not None
        text, rest = self._dotted.receive(buffer[position:] if position else buffer)
        if rest is None:
            return BodyPiece(text, False), len(buffer)
        self._dotted = None
        return BodyPiece(text, True), len(buffer) - len(rest)

    def _take_chunk(self, buffer: bytes, position: int, left: int) -> tuple[BodyPiece | None, int]:
        piece = buffer[position : position + left]
        left -= len(piece)
        position += len(piece)
        self._left = left or None
        if self.chunks is None:
            return None, position
        text = self.chunks.receive(piece)
        if left or not self._is_last:
            return BodyPiece(text, False, not left), position
        text += self.chunks.end()
        self.chunks = None
        return BodyPiece(text, True), position
