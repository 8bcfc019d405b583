"""The body of an SMTP message that comes in chunks of known length: CRLF to LF.

A LF without CR is an error here as it is in DATA, so that it does not matter how a message came.

Source: RFC 3030 (BDAT).
"""

from eqmail_core.smtp.data import BareNewline


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
