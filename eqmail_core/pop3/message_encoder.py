"""Encodes a message for a POP3 client, whole or only its beginning; no I/O.

Source: smtp-server.md 4.12 (qmail-pop3d.c blast); RFC 1939 sections 3 and 7 (TOP).
"""

from eqmail_core.smtp.data import DotStuffer

_END = b"\r\n.\r\n"


class MessageText:
    """Encodes a message piece by piece: CRLF, doubled dots, an empty line and a dot at its end.

    With `lines`, it ends after that many lines of the body; `is_over` is then True.
    """

    def __init__(self, lines: int | None = None) -> None:
        self.is_over = False
        self._stuffing = DotStuffer()
        self._lines = lines
        self._in_header = True

    def encode(self, piece: bytes) -> bytes:
        """The bytes to send for a piece of the message."""
        if self._lines is not None:
            piece = self._cut(piece, self._lines)
        return self._stuffing.encode(piece) if piece else b""

    def finish(self) -> bytes:
        """The bytes to send after the last piece."""
        return _END if self._stuffing.at_line_start else b"\r\n" + _END

    def _cut(self, piece: bytes, lines: int) -> bytes:
        position = 0
        if self._in_header:
            if self._stuffing.at_line_start and piece[:1] == b"\n":
                position = 1
            else:
                position = piece.find(b"\n\n") + 2
                if position == 1:
                    return piece
            self._in_header = False
        while lines and position < len(piece):
            position = piece.find(b"\n", position) + 1 or len(piece) + 1
            lines -= position <= len(piece)
        self._lines = lines
        self.is_over = not lines
        return piece[:position]
