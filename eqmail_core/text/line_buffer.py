"""Lines of a network client from bytes in any fragmentation; bounded, so that an endless line costs nothing.

Fails: never on input; a line that is too long is dropped, and the owner is asked to reply to it.
"""


class LineBuffer:
    """Bytes that are not processed yet; at most one line beyond what was added last is kept."""

    __slots__ = ("_buffer", "_is_skipping", "_position")

    MAX_LINE = 4096
    """Longest line in bytes; the rest of a longer one is discarded."""

    def __init__(self) -> None:
        self._buffer = b""
        self._position = 0
        self._is_skipping = False

    @property
    def unread(self) -> int:
        """Number of bytes received and not processed yet."""
        return len(self._buffer) - self._position

    def _add(self, data: bytes) -> None:
        """Add bytes from the client."""
        if self._position < len(self._buffer):
            self._buffer = self._buffer[self._position :] + data
        else:
            self._buffer = data
        self._position = 0

    def _next_line(self) -> bytes | None:
        """Return the next line without its end, LF or CRLF; None until more arrives."""
        longest = self.MAX_LINE
        while True:
            start = self._position
            end = self._buffer.find(b"\n", start)
            if end < 0:
                if len(self._buffer) - start > longest:
                    self._is_skipping = True
                if self._is_skipping:
                    self._position = len(self._buffer)
                return None
            self._position = end + 1
            if not self._is_skipping and end - start <= longest:
                break
            self._is_skipping = False
            self._line_dropped()
        line = self._buffer[start:end]
        return line[:-1] if line[-1:] == b"\r" else line

    def _line_dropped(self) -> None:
        """Reply to a line that was too long."""
        raise NotImplementedError
