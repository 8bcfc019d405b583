"""The bytes of one SMTP session: lines in, replies out, and what was refused; performs no I/O.

Source: RFC 5321 section 4.5.3.1; smtp-server.md 4.2.
"""

from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.smtpd.protocol.options import ServerOptions

MAX_LINE = 4096
"""Maximum length of a command line in bytes; the rest of a longer line is discarded."""

TURN = 100
"""Maximum number of lines and chunks of one client per turn; other clients follow."""

# The first digits of replies that refuse; those to unknown commands and wrong order refuse no mail.
_REFUSING = (b"4", b"5")
_OF_DISORDER = (b"500", b"502", b"503")


class SessionStreams:
    """The input that is not processed yet, and the output since `take_output`.

    `closed`: nothing follows the output; `closing_reply`: the line with which the server ended the session; `refusals`:
    since `take_refusals`, except wrong order.  `sender`, `last_address`: the current ones, for refusals.
    `turn_left`: lines and chunks that may still be processed in this turn.
    Bounded: input is kept only up to one line beyond what `receive` was given.
    """

    __slots__ = (
        "_buffer",
        "_errors",
        "_is_skipping",
        "_names_sender",
        "_out",
        "_position",
        "_rules",
        "closed",
        "closing_reply",
        "last_address",
        "refusals",
        "sender",
        "turn_left",
    )

    def __init__(self, rules: "ServerOptions") -> None:
        self._rules = rules
        self._buffer = b""
        self._position = 0
        self.turn_left = TURN
        self._errors = 0
        self._is_skipping = False
        self._names_sender = False
        self._out: list[bytes] = []
        self.refusals: list[Refusal] = []
        self.closed = False
        self.closing_reply = b""
        self.sender: bytes | None = None
        self.last_address: bytes | None = None

    # --- input

    @property
    def unread(self) -> int:
        """Number of bytes received and not processed yet."""
        return len(self._buffer) - self._position

    def receive(self, data: bytes) -> None:
        """Add bytes from the client; a turn begins."""
        if self._position < len(self._buffer):
            self._buffer = self._buffer[self._position :] + data
        else:
            self._buffer = data
        self._position = 0
        self.turn_left = TURN

    def _next_line(self) -> bytes | None:
        """Return the next line without its end."""
        while True:
            start = self._position
            end = self._buffer.find(b"\n", start)
            if end < 0:
                if len(self._buffer) - start > MAX_LINE:
                    self._is_skipping = True
                if self._is_skipping:
                    self._position = len(self._buffer)
                return None
            self._position = end + 1
            if not self._is_skipping and end - start <= MAX_LINE:
                break
            self._is_skipping = False
            self._line_dropped()
        line = self._buffer[start:end]
        return line[:-1] if line[-1:] == b"\r" else line

    def _line_dropped(self) -> None:
        """Reply to a line that was too long."""
        self._flush_reply(reply.LINE_TOO_LONG)

    # --- output

    def take_output(self) -> bytes:
        """Return everything to send since the last call."""
        out, self._out = self._out, []
        if not out:
            return b""
        out.append(b"")
        return b"\r\n".join(out)

    def close(self, line: bytes) -> None:
        """End the session from our side, with a last line."""
        if not self.closed:
            self._flush_reply(line)
            self.closed = True
            self.closing_reply = line

    def take_refusals(self) -> list[Refusal]:
        """Return the commands refused since the last call."""
        refusals, self.refusals = self.refusals, []
        return refusals

    def _flush_reply(self, *lines: bytes) -> None:
        """Send a reply and count errors."""
        if self._rules.enhanced_status_codes:
            lines = tuple(map(reply.with_status, lines))
        self._out += lines
        if self._rules.max_errors:
            for line in lines:
                self._errors += line[:1] in _REFUSING
            if self._errors > self._rules.max_errors and not self.closed:
                self.closed = True
                self.closing_reply = reply.TOO_MANY_ERRORS
                self._flush_reply(self.closing_reply)

    def _note_refusal(self, line: bytes, user: bytes | None) -> None:
        if line[:1] in _REFUSING and line[:3] not in _OF_DISORDER:
            recipient = None if self._names_sender or user is not None else self.last_address
            sender = self.last_address if self._names_sender and user is None else self.sender
            self.refusals.append(Refusal(line, sender, recipient, user))
