"""Build and parse packets of the milter protocol, version 6 and older.

A packet is its length (four bytes, most significant first), a letter, and length minus one bytes of payload.
Texts in it end with NUL; a NUL within a text is dropped.

Source: libmilter of Sendmail 8.17 (mfdef.h, mfapi.h) and Postfix's MILTER_README, which document it between them.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

VERSION = 6
OLDEST = 2

# Commands from the MTA.
NEGOTIATE, MACROS, CONNECT, HELO, MAIL, RECIPIENT = b"O", b"D", b"C", b"H", b"M", b"R"
DATA, HEADER, END_OF_HEADER, BODY, END_OF_BODY = b"T", b"L", b"N", b"B", b"E"
ABORT, QUIT = b"A", b"Q"

# Replies of the milter.
CONTINUE, ACCEPT, REJECT, TEMPFAIL, DISCARD = b"c", b"a", b"r", b"t", b"d"
REPLY_CODE, SKIP, PROGRESS, SHUTDOWN = b"y", b"s", b"p", b"4"

# Modifications of a complete message.
ADD_HEADER, INSERT_HEADER, CHANGE_HEADER = b"h", b"i", b"m"
ADD_RECIPIENT, ADD_RECIPIENT_PARAMETERS, DELETE_RECIPIENT, CHANGE_SENDER = b"+", b"2", b"-", b"e"
REPLACE_BODY, QUARANTINE = b"b", b"q"

ACTIONS = {
    ADD_HEADER: 0x01,
    INSERT_HEADER: 0x01,
    REPLACE_BODY: 0x02,
    ADD_RECIPIENT: 0x04,
    DELETE_RECIPIENT: 0x08,
    CHANGE_HEADER: 0x10,
    QUARANTINE: 0x20,
    CHANGE_SENDER: 0x40,
    ADD_RECIPIENT_PARAMETERS: 0x80,
}
"""The negotiated bit of each modification."""

SETS_MACROS = 0x100
"""The milter names the macros it wants."""

UNASKED = {
    CONNECT: 0x01,
    HELO: 0x02,
    MAIL: 0x04,
    RECIPIENT: 0x08,
    BODY: 0x10,
    HEADER: 0x20,
    END_OF_HEADER: 0x40,
    DATA: 0x200,
}
"""The negotiated bit by which a milter declines a command."""

SILENT = {
    HEADER: 0x80,
    CONNECT: 0x1000,
    HELO: 0x2000,
    MAIL: 0x4000,
    RECIPIENT: 0x8000,
    DATA: 0x10000,
    END_OF_HEADER: 0x40000,
    BODY: 0x80000,
}
"""The negotiated bit by which a milter announces no reply to a command."""

SKIPS, LEADING_SPACE = 0x400, 0x100000

STEPS = 0
for _bit in (*UNASKED.values(), *SILENT.values(), SKIPS, LEADING_SPACE, 0x100, 0x20000):
    STEPS |= _bit
# The last two: no unknown commands, and no reply to them.  Unknown commands are never sent.

STEPS_OF_VERSION_2 = 0x7F
"""The bits of these that a milter of version 2 knows."""

BODY_CHUNK = 65535
"""Maximum number of body bytes in one packet."""

MAX_PACKET = 1 << 17
"""Maximum length of an accepted packet in bytes; libmilter's are at most half of it."""

STAGES = (CONNECT, HELO, MAIL, RECIPIENT, DATA, END_OF_BODY, END_OF_HEADER)
"""The stages in the order of their numbers in a list of macros."""


class MilterProtocolError(Exception):
    """The input is not the milter protocol; the text gives the reason."""


def packet(letter: bytes, payload: bytes = b"") -> bytes:
    """Build a packet."""
    return (len(payload) + 1).to_bytes(4, "big") + letter + payload


def texts(*words: bytes) -> bytes:
    """Build texts, each with its NUL."""
    return b"".join([word.replace(b"\0", b"") + b"\0" for word in words])


def number(value: int) -> bytes:
    """Build a number of four bytes."""
    return value.to_bytes(4, "big")


def split_texts(payload: bytes) -> list[bytes]:
    """Split a payload into its texts; a last one without NUL counts."""
    words = payload.split(b"\0")
    return words if words[-1] else words[:-1]


class PacketReader:
    """Splits bytes in any fragmentation into packets; holds back at most one incomplete packet."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def receive(self, data: bytes) -> "Iterator[tuple[bytes, bytes]]":
        """Yield letter and payload of each packet that is now complete.

        Fails: MilterProtocolError for an invalid length; nothing can be read after it.
        """
        buffer = self._buffer + data if self._buffer else data
        position = 0
        try:
            while len(buffer) - position >= 4:
                length = int.from_bytes(buffer[position : position + 4], "big")
                if not 0 < length <= MAX_PACKET:
                    raise MilterProtocolError(f"a packet of {length} bytes")
                end = position + 4 + length
                if len(buffer) < end:
                    break
                start, position = position + 4, end
                yield buffer[start : start + 1], buffer[start + 1 : end]
        finally:
            self._buffer = buffer[position:]


def body_chunks(pieces: "Iterable[bytes]") -> "Iterator[bytes]":
    """Convert LF-terminated lines, cut anywhere, to body chunks with CRLF."""
    waiting = b""
    for piece in pieces:
        waiting += piece.replace(b"\n", b"\r\n")
        while len(waiting) >= BODY_CHUNK:
            yield waiting[:BODY_CHUNK]
            waiting = waiting[BODY_CHUNK:]
    if waiting:
        yield waiting
