"""The bytes of messages in an SMTP conversation: up to a dot (DATA), or in chunks whose length is said before (BDAT).

Source: RFC 5321 section 4.1.1.4; RFC 3030 section 2.
"""

from eqmail_core.smtp.data import ChunkDecoder, DotUnstuffer
from eqmail_core.smtpd.protocol.events import BodyKind


class DataReader:
    """One message after the other; the bytes of a chunk that belongs to none are counted and thrown away.

    `is_between_chunks`: more of the message will come, and only in chunks.
    """

    __slots__ = ("_chunks", "_dotted", "_is_last", "_left")

    def __init__(self) -> None:
        self._dotted: DotUnstuffer | None = None
        self._chunks: ChunkDecoder | None = None
        # A chunk is being read while this is a number.
        self._left: int | None = None
        self._is_last = False

    @property
    def is_open(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._dotted is not None or self._chunks is not None

    @property
    def is_in_chunks(self) -> bool:
        """Whether a message has begun that comes in chunks."""
        return self._chunks is not None

    def begin(self) -> bool:
        """A message follows: whether it is in the chunk that was announced, and else it ends with a dot."""
        if self._left is not None:
            self._chunks = ChunkDecoder()
            return True
        self._dotted = DotUnstuffer()
        return False

    def announce(self, size: int, is_last: bool) -> None:
        """A chunk of so many bytes follows."""
        self._left = size
        self._is_last = is_last

    def drop_chunks(self) -> None:
        """There will be no more of a message that came in chunks, nor is there a message any more."""
        self._chunks = None

    def wants(self, unread: int) -> bool:
        """Whether what follows belongs here, where there are so many bytes of it."""
        if self._left is not None:
            return unread > 0 or not self._left
        return self._dotted is not None and unread > 0

    def take(self, buffer: bytes, position: int) -> tuple[BodyKind | None, int]:
        """What the bytes from `position` on mean, and where the others begin; None for bytes that are thrown away.

        Fails: BareNewline.
        """
        if self._left is not None:
            return self._take_chunk(buffer, position, self._left)
        assert self._dotted is not None
        text, rest = self._dotted.receive(buffer[position:] if position else buffer)
        if rest is None:
            return BodyKind(text, False), len(buffer)
        self._dotted = None
        return BodyKind(text, True), len(buffer) - len(rest)

    def _take_chunk(self, buffer: bytes, position: int, left: int) -> tuple[BodyKind | None, int]:
        piece = buffer[position : position + left]
        left -= len(piece)
        position += len(piece)
        self._left = left or None
        if self._chunks is None:
            return None, position
        text = self._chunks.receive(piece)
        if left or not self._is_last:
            return BodyKind(text, False, not left), position
        text += self._chunks.end()
        self._chunks = None
        return BodyKind(text, True), position
