"""The content of an SMTP message on its way out: LF becomes CRLF, a dot at the start of a line is doubled.

A CR that is already there stays.  Works on pieces of any size, with one flag between them.

Source: RFC 5321 sections 2.3.8 and 4.5.2; delivery.md 5.6.
"""


class DotStuffing:
    """Encodes one message, piece by piece."""

    __slots__ = ("at_line_start",)

    def __init__(self) -> None:
        self.at_line_start = True

    def encode(self, piece: bytes) -> bytes:
        """The bytes to send for a piece of the message, which is not empty."""
        lead = b"." if self.at_line_start and piece[0] == 46 else b""
        self.at_line_start = piece[-1] == 10
        return lead + piece.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n")
