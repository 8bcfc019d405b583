"""The content of an SMTP message on its way out: LF becomes CRLF, a dot at the start of a line is doubled.

A CR that is already there stays.  Works on pieces of any size, with two flags between them.

Source: RFC 5321 sections 2.3.8 and 4.5.2; delivery.md 5.6.
"""


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
