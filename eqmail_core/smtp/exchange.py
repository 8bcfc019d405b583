"""Match commands of an SMTP client with their replies, and report on one message.

A reply is positive (2yz where 2yz is due, 354 for DATA) or negative (4yz, 5yz).  Any other reply, or one without
a command, may mean that replies and commands are out of step.  The message is then deferred, and the session carries
no other.

Fails: never on server input.
Source: RFC 5321 sections 4.2 and 4.3; delivery.md 5.6 (texts of the reports).
"""

from eqmail_core.smtp.reply_reader import Reply, ReplyReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

WAITING = 0
"""More bytes from the server are needed."""
CONTENT = 1
"""The next piece of the message is needed."""
HANDSHAKE = 2
"""TLS must begin now; the driver then calls `tls_established` or `tls_failed`."""
TRY_NEXT = 3
"""The server does not accept a session now: close, and try another address."""
DONE = 4
"""The report is complete; send the remaining output, then close unless `is_reusable`."""

CLOSING = 421


class SmtpExchange:
    """One connection to `peer`, named as in reports; `expected` handles its first reply."""

    __slots__ = (
        "_critical",
        "_expected",
        "_output",
        "_peer",
        "_reader",
        "_reports",
        "_tls_refusal",
        "answers",
        "may_retry",
        "status",
    )

    def __init__(self, peer: bytes, expected: "Callable[[Reply], None]") -> None:
        self._peer = peer
        self._reader = ReplyReader()
        self._output: list[bytes] = []
        self._expected = expected
        # The reply that refused STARTTLS, until the next reply.
        self._tls_refusal = b""
        self.status = WAITING

    @property
    def report(self) -> bytes:
        """Return the whole report about the message, once `status` is DONE."""
        return b"".join(self._reports)

    def take_output(self) -> bytes:
        """Return the bytes to send now."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def _begin_report(self) -> None:
        """Reset the report for a new message."""
        self._reports: list[bytes] = []
        self._critical = False
        self.answers = 0
        """Number of replies since the message began."""
        self.may_retry = True
        """Whether a new connection may succeed without the risk of a duplicate.

        It is true while the server has not accepted MAIL, and after its reply that it is closing (421).
        """

    def _take_replies(self) -> None:
        while self.status == WAITING:
            reply = self._reader.next_reply()
            if reply is None:
                break
            self._count(reply)
            self._expected(reply)

    def _count(self, reply: Reply) -> None:
        """Count one reply."""
        self.answers += 1
        self._tls_refusal = b""
        if reply.code == CLOSING and not self._critical:
            self.may_retry = True

    def _send_command(self, line: bytes, expected: "Callable[[Reply], None]") -> None:
        """Send a command while no other is outstanding; `expected` handles its reply."""
        if not self._reader.is_clean:
            self._fail_out_of_step()
            return
        self._output.append(line + b"\r\n")
        self._await(expected)

    def _await(self, expected: "Callable[[Reply], None]") -> None:
        self._expected = expected
        self.status = WAITING

    def _fail_out_of_step(self, reply: Reply | None = None) -> None:
        """Fail on an unexpected reply: replies can no longer be matched with commands."""
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
        """Ignore every reply after QUIT."""


def letter(reply: Reply) -> bytes:
    """Return the report letter for a message that was not accepted."""
    return b"D" if reply.is_permanent else b"Z"


def recipient_letter(reply: Reply) -> bytes:
    """Return the report letter for a recipient that was not accepted."""
    return b"h" if reply.is_permanent else b"s"


def remote_said(reply: Reply) -> bytes:
    """Return the report line that quotes the server."""
    return b"Remote host said: " + reply.text.replace(b"\0", b"?")
