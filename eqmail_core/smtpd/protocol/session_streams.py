"""The bytes of one SMTP session: lines in, replies out, and what was refused; performs no I/O.

Source: RFC 5321 section 4.5.3.1; smtp-server.md 4.2.
"""

from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import Refusal
from eqmail_core.text.line_buffer import LineBuffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.smtpd.protocol.options import ServerOptions

TURN = 100
"""Maximum number of lines and chunks of one client per turn; other clients follow."""

# The first digits of replies that refuse; those to unknown commands and wrong order refuse no mail.
_REFUSING = (b"4", b"5")
_OF_DISORDER = (b"500", b"502", b"503")


class SessionStreams(LineBuffer):
    """The input that is not processed yet, and the output since `take_output`.

    `closed`: nothing follows the output; `closing_reply`: the line with which the server ended the session; `refusals`:
    since `take_refusals`, except wrong order.  `sender`, `last_address`: the current ones, for refusals.
    `turn_left`: lines and chunks that may still be processed in this turn.
    """

    __slots__ = (
        "_errors",
        "_names_sender",
        "_out",
        "_rules",
        "closed",
        "closing_reply",
        "last_address",
        "refusals",
        "sender",
        "turn_left",
    )

    def __init__(self, rules: "ServerOptions") -> None:
        super().__init__()
        self._rules = rules
        self.turn_left = TURN
        self._errors = 0
        self._names_sender = False
        self._out: list[bytes] = []
        self.refusals: list[Refusal] = []
        self.closed = False
        self.closing_reply = b""
        self.sender: bytes | None = None
        self.last_address: bytes | None = None

    # --- input

    def receive(self, data: bytes) -> None:
        """Add bytes from the client; a turn begins."""
        self._add(data)
        self.turn_left = TURN

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
