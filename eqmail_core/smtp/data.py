"""The body of an SMTP message on its way in: CRLF to LF, transparency dots away, the end found.

Only CRLF . CRLF ends a message and a LF without CR is an error, so that no two servers can disagree about where a
message ends.  A CR that is not followed by LF is text.

Source: smtp-server.md 4.5 (qmail-smtpd.c blast); RFC 5321 section 4.5.2.
"""

END = b"\r\n.\r\n"

# Every proper beginning of END, longest first: what may have to wait for more bytes.
_BEGINNINGS = tuple(END[:length] for length in range(len(END) - 1, 0, -1))


class BareNewline(Exception):
    """A LF without a CR before it."""


class DotUnstuffer:
    """Decoder of one message, in chunks of any size; holds back at most four bytes.

    A message that begins with a dot is read as if it followed a CRLF; the newline that this adds is taken off again.
    """

    __slots__ = ("_extra", "_held")

    def __init__(self) -> None:
        self._held: bytes | None = None
        self._extra = 0

    def receive(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Text so far, as lines that end in LF, and what follows the message: None while it has not ended.

        Fails: BareNewline.
        """
        if not data:
            return b"", None
        if self._held:
            data = self._held + data
        elif self._held is None and data[:1] == b".":
            data = END[:2] + data
            self._extra = 1
        end = data.find(END)
        if end >= 0:
            return self._text(data[: end + 2]), data[end + 5 :]
        self._held = b""
        for beginning in _BEGINNINGS:
            if data.endswith(beginning):
                self._held = beginning
                data = data[: -len(beginning)]
                break
        return self._text(data), None

    def _text(self, data: bytes) -> bytes:
        lines = data.split(b"\r\n")
        if b"\n" in b"".join(lines):
            raise BareNewline
        text = b"\n".join(lines)
        if b"\n." in text:
            text = _without_dots(text)
        if self._extra and text:
            self._extra = 0
            return text[1:]
        return text


def _without_dots(text: bytes) -> bytes:
    """Take the dot off every line that begins with one, but not where a lone CR follows it: that dot was text to C."""
    if b"\n.\r" not in text:
        return text.replace(b"\n.", b"\n")
    return b"\n.\r".join(part.replace(b"\n.", b"\n") for part in text.split(b"\n.\r"))


class DotStuffer:
    """Encodes one message, piece by piece.

    `guards_cr`: a dot behind a CR is doubled, too.  To a server that takes a CR for the end of a line, CR . CR would
    end the message, and what follows would be commands in our name; every other server gets a dot too many there.
    """

    __slots__ = ("_follows_cr", "_guards_cr", "at_line_start")

    def __init__(self, guards_cr: bool = False) -> None:
        self.at_line_start = True
        self._guards_cr = guards_cr
        self._follows_cr = False

    def encode(self, piece: bytes) -> bytes:
        """The bytes to send for a piece of the message, which is not empty."""
        lead = b"." if piece[0] == 46 and (self.at_line_start or self._follows_cr) else b""
        self.at_line_start = piece[-1] == 10
        if self._guards_cr:
            self._follows_cr = piece[-1] == 13
            piece = piece.replace(b"\r.", b"\r..")
        return lead + piece.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n")


class ChunkDecoder:
    """Decoder of one message, in pieces of any size; holds back at most one byte."""

    __slots__ = ("_has_ended_line", "_held")

    def __init__(self) -> None:
        self._held = b""
        self._has_ended_line = True

    def receive(self, data: bytes) -> bytes:
        """Text so far, as lines that end in LF.  Fails: BareNewline."""
        data = self._held + data
        self._held = b""
        if data.endswith(b"\r"):
            self._held, data = data[-1:], data[:-1]
        lines = data.split(b"\r\n")
        if b"\n" in b"".join(lines):
            raise BareNewline
        return self._text(b"\n".join(lines))

    def end(self) -> bytes:
        """The rest of the message, whose last line ends whether the client ended it or not."""
        text = self._text(self._held)
        return text if self._has_ended_line else text + b"\n"

    def _text(self, text: bytes) -> bytes:
        if text:
            self._has_ended_line = text.endswith(b"\n")
        return text
