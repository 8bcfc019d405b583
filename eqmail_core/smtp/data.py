"""Decode and encode the body of an SMTP message: line ends, dot stuffing, end of data.

Only CRLF . CRLF ends a message, and an LF without CR is an error, so no two servers can disagree about where a
message ends.  A CR that is not followed by LF is text.

Source: smtp-server.md 4.5 (qmail-smtpd.c blast); RFC 5321 section 4.5.2.
"""

END = b"\r\n.\r\n"

# Every proper prefix of END, longest first: such a suffix of the input may need more bytes.
_BEGINNINGS = tuple(END[:length] for length in range(len(END) - 1, 0, -1))


class BareNewline(Exception):
    """An LF without a CR before it."""


class DotUnstuffer:
    """Decodes one message, in chunks of any size; holds back at most four bytes.

    A message that begins with a dot is decoded as if it followed a CRLF; the added newline is removed again.
    """

    __slots__ = ("_extra", "_held")

    def __init__(self) -> None:
        self._held: bytes | None = None
        self._extra = 0

    def receive(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Decode more bytes to LF-terminated lines.

        The second value is the input after the end of the message, None before that.
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
    """Remove the leading dot of every line, except before a lone CR.

    C treats that dot as text.
    """
    if b"\n.\r" not in text:
        return text.replace(b"\n.", b"\n")
    return b"\n.\r".join(part.replace(b"\n.", b"\n") for part in text.split(b"\n.\r"))


class DotStuffer:
    """Encodes one message, piece by piece.

    `guards_cr`: also double a dot after a CR.  For a server that takes a CR as a line end, CR . CR would end the
    message.  The rest would then be commands in our name.  Every other server gets one superfluous dot there.
    """

    __slots__ = ("_follows_cr", "_guards_cr", "at_line_start")

    def __init__(self, guards_cr: bool = False) -> None:
        self.at_line_start = True
        self._guards_cr = guards_cr
        self._follows_cr = False

    def encode(self, piece: bytes) -> bytes:
        """Encode a non-empty piece of the message for sending."""
        lead = b"." if piece[0] == 46 and (self.at_line_start or self._follows_cr) else b""
        self.at_line_start = piece[-1] == 10
        if self._guards_cr:
            self._follows_cr = piece[-1] == 13
            piece = piece.replace(b"\r.", b"\r..")
        return lead + piece.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n")


class ChunkDecoder:
    """Decodes one message sent with BDAT, in pieces of any size; holds back at most one byte."""

    __slots__ = ("_has_ended_line", "_held")

    def __init__(self) -> None:
        self._held = b""
        self._has_ended_line = True

    def receive(self, data: bytes) -> bytes:
        """Decode more bytes to LF-terminated lines.  Fails: BareNewline."""
        data = self._held + data
        self._held = b""
        if data.endswith(b"\r"):
            self._held, data = data[-1:], data[:-1]
        lines = data.split(b"\r\n")
        if b"\n" in b"".join(lines):
            raise BareNewline
        return self._text(b"\n".join(lines))

    def end(self) -> bytes:
        """Return the rest of the message; an incomplete last line is terminated."""
        text = self._text(self._held)
        return text if self._has_ended_line else text + b"\n"

    def _text(self, text: bytes) -> bytes:
        if text:
            self._has_ended_line = text.endswith(b"\n")
        return text
