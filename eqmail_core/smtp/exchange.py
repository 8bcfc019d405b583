"""Commands of an SMTP client and the replies to them, in step; and the report about one message.

A reply is yes (2yz where 2yz is due, 354 for DATA) or no (4yz, 5yz).  Any other, and one that nothing has asked for,
may mean that replies and commands are out of step: the message waits, and the session carries no other.

Fails: never on what the server says.
Source: RFC 5321 sections 4.2 and 4.3; delivery.md 5.6 (texts of the reports).
"""

from eqmail_core.smtp.reply_reader import Reply, ReplyReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

WAITING = 0
"""More of the server's bytes are needed."""
CONTENT = 1
"""The next piece of the message is wanted."""
HANDSHAKE = 2
"""TLS is to begin now; `secured` or `fail_tls` is called when it has or has not."""
TRY_NEXT = 3
"""The server does not want to talk now: close, and try another address."""
DONE = 4
"""The report is complete; send what is left to send, then close unless `is_reusable`."""

CLOSING = 421


class SmtpExchange:
    """One connection to the server `peer`, as reports name it; `expected` takes its first reply."""

    __slots__ = (
        "_critical",
        "_expected",
        "_output",
        "_peer",
        "_reader",
        "_reports",
        "answers",
        "may_retry",
        "status",
    )

    def __init__(self, peer: bytes, expected: "Callable[[Reply], None]") -> None:
        self._peer = peer
        self._reader = ReplyReader()
        self._output: list[bytes] = []
        self._expected = expected
        self.status = WAITING

    @property
    def report(self) -> bytes:
        """Everything to be reported about the message, once `status` is DONE."""
        return b"".join(self._reports)

    def take_output(self) -> bytes:
        """What is to be sent now."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def _begin_report(self) -> None:
        """A message begins."""
        self._reports: list[bytes] = []
        self._critical = False
        self.answers = 0
        """How many replies the server has given since the message began."""
        self.may_retry = True
        """Whether a new connection may have more success, and nothing can come twice: the server has not accepted
        MAIL, or said that it is closing."""

    def _take_replies(self) -> None:
        while self.status == WAITING:
            reply = self._reader.next_reply()
            if reply is None:
                break
            self._count(reply)
            self._expected(reply)

    def _count(self, reply: Reply) -> None:
        """The server has said something."""
        self.answers += 1
        if reply.code == CLOSING and not self._critical:
            self.may_retry = True

    def _say(self, line: bytes, expected: "Callable[[Reply], None]") -> None:
        """Send a command, to which `expected` takes the reply; nothing else is under way."""
        if not self._reader.is_clean:
            self._fail_out_of_step()
            return
        self._output.append(line + b"\r\n")
        self._await(expected)

    def _await(self, expected: "Callable[[Reply], None]") -> None:
        self._expected = expected
        self.status = WAITING

    def _fail_out_of_step(self, reply: Reply | None = None) -> None:
        """The server said what nothing had asked for: which reply belongs to which command cannot be known any more."""
        reply = reply or self._reader.next_reply()
        text = b"ZConnected to %b but it sent a reply that nothing had asked for." % self._peer
        self._fail_at_once(text + (b"\n" + remote_said(reply) if reply else b" (#4.5.0)\n"))

    def _quit(self, outcome: bytes, text: bytes, reply: Reply) -> None:
        self._end_session(outcome + text + remote_said(reply))

    def _end_session(self, message_report: bytes) -> None:
        self._output.append(b"QUIT\r\n")
        self._fail_at_once(message_report)

    def _fail_at_once(self, message_report: bytes) -> None:
        """Complete the report; the connection carries no further message."""
        self._reports.append(message_report + b"\0")
        self._expected = self._ignored
        self.status = DONE

    def _ignored(self, reply: Reply) -> None:
        """After QUIT no reply matters."""


def letter(reply: Reply) -> bytes:
    """The letter of a report about a message that was not accepted."""
    return b"D" if reply.is_permanent else b"Z"


def recipient_letter(reply: Reply) -> bytes:
    """The letter of a report about a recipient who was not accepted."""
    return b"h" if reply.is_permanent else b"s"


def remote_said(reply: Reply) -> bytes:
    """The line by which a report quotes a server."""
    return b"Remote host said: " + reply.text.replace(b"\0", b"?")
