"""Client side of SMTP: one session with a server, any number of messages one after the other; performs no I/O.

Accepts   bytes of the server in any fragmentation, and the message in pieces of LF-terminated lines.
Yields    bytes to send, a `status` that says what it waits for, and at the end of each message a report in the
          grammar of qmail-remote: recipient reports, then one message report, each ended by NUL.
Fails     never on what the server says; a broken connection is an input too (`lost`).

Where the server offers PIPELINING, MAIL, all RCPT and DATA go out at once, and every reply is still looked at.

Source: RFC 5321, RFC 2920 (pipelining), RFC 4954; delivery.md 5.6 (texts of the reports).
Long because one session is one machine: its states hand over to each other.
"""

from eqmail_core.protocols.dot_stuffing import DotStuffing
from eqmail_core.protocols.smtp_auth import Credentials, answers, choose_mechanism, first_line
from eqmail_core.protocols.smtp_reply import GARBLED, Reply, ReplyReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

WAITING = 0
"""More of the server's bytes are needed."""
CONTENT = 1
"""The next piece of the message is wanted."""
TRY_NEXT = 2
"""The server does not want to talk now: close, and try another address."""
DONE = 3
"""The report is complete; send what is left to send, then close unless `is_reusable`."""

CLOSING = 421

GROUP = 500
"""Most recipients sent ahead of their replies."""


class SmtpClient:
    """One session, from the greeting on.

    `peer`: the server's address as reports name it; `hello`: our name; `keep`: end an accepted message without QUIT,
    so that `begin` can be called for another one.
    """

    __slots__ = (
        "_accepted",
        "_authenticated",
        "_credentials",
        "_critical",
        "_expected",
        "_failure",
        "_held",
        "_hello",
        "_next_recipient",
        "_output",
        "_peer",
        "_pending_answers",
        "_pipelining",
        "_reader",
        "_recipients",
        "_reports",
        "_sender",
        "_standing",
        "_stuffing",
        "answers",
        "is_deferred",
        "keep",
        "status",
    )

    def __init__(self, peer: bytes, hello: bytes, credentials: Credentials | None = None, keep: bool = False) -> None:
        self._peer = peer
        self._hello = hello
        self._credentials = credentials
        self.keep = keep
        self._reader = ReplyReader()
        self._output: list[bytes] = []
        self._expected: Callable[[Reply], None] = self._greeted
        self._standing = False
        self._pipelining = False
        self._authenticated = False
        self._pending_answers: list[tuple[bytes, Callable[[bytes], bytes]]] = []
        self._stuffing = DotStuffing()
        self._held = b""
        self.status = WAITING

    def begin(self, sender: bytes, recipients: list[bytes]) -> None:
        """Start a message: at once on a session that stands, after the introductions on a new one.

        Sender and recipients (at least one) are as they go between < and >, already quoted.
        """
        self._sender = sender
        self._recipients = recipients
        self._reports: list[bytes] = []
        self._failure = b""
        self._accepted = False
        self._critical = False
        self._next_recipient = 0
        self.answers = 0
        """How many replies the server has given since the message began."""
        self.is_deferred = False
        """Whether the server wants no message now: it refused MAIL for the time being, or said that it is closing."""
        self.status = WAITING
        if self._standing:
            self._send_envelope()

    @property
    def report(self) -> bytes:
        """Everything to be reported about the message, once `status` is DONE."""
        return b"".join(self._reports)

    @property
    def is_reusable(self) -> bool:
        """Whether another message may follow on this session."""
        return self.status == DONE and self.keep and self._expected == self._idle and self._reader.is_clean

    def take_output(self) -> bytes:
        """What is to be sent now."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def receive(self, data: bytes) -> None:
        """Take bytes of the server."""
        self._reader.receive(data)
        self._take_replies()

    def supply(self, piece: bytes) -> None:
        """Take a piece of the message, as CONTENT asked for; b"" is its end.

        Sending is one piece behind, so that of a short message with an unfinished last line nothing is sent.
        """
        held, self._held = self._held, piece
        if piece:
            if held:
                self._output.append(self._stuffing.encode(held))
            return
        if held and held[-1] != 10:
            self._fail_at_once(b"DSMTP cannot transfer messages with partial final lines. (#5.6.2)\n")
            return
        if held:
            self._output.append(self._stuffing.encode(held))
        self._critical = True
        self._output.append(b".\r\n")
        self._await(self._finished)
        self._take_replies()

    def fail_reading(self) -> None:
        """The message cannot be read to its end."""
        self._fail_at_once(b"ZUnable to read message. (#4.3.0)\n")

    def lost(self) -> None:
        """The connection broke, or the server took too long."""
        if self.status in (WAITING, CONTENT):
            duplicate = b"Possible duplicate! " if self._critical else b""
            died = b"ZConnected to %b but connection died. %b(#4.4.2)\n" % (self._peer, duplicate)
            self._fail_at_once(self._failure or died)

    # --------------------------------------------------------------- introductions

    def _greeted(self, reply: Reply) -> None:
        if reply.code == 220:
            self._say(b"EHLO " + self._hello, self._ehlo_answered)
        elif 400 <= reply.code < GARBLED:
            self.status = TRY_NEXT
        else:
            self._quit(_letter(reply), b"Connected to %b but greeting failed.\n" % self._peer, reply)

    def _ehlo_answered(self, reply: Reply) -> None:
        if reply.code != 250:
            self._say(b"HELO " + self._hello, self._helo_answered)
            return
        extensions = reply.lines()[1:]
        self._pipelining = any(line.strip().upper() == b"PIPELINING" for line in extensions)
        mechanism = choose_mechanism(extensions) if self._credentials else None
        if self._credentials and mechanism:
            self._pending_answers = answers(mechanism, self._credentials)
            self._authenticate(b"AUTH " + mechanism, first_line(mechanism, self._credentials))
        else:
            self._stand()

    def _helo_answered(self, reply: Reply) -> None:
        if reply.code == 250:
            self._stand()
        else:
            self._quit(b"Z", b"Connected to %b but my name was rejected.\n" % self._peer, reply)

    def _authenticate(self, step: bytes, line: bytes) -> None:
        wanted = 334 if self._pending_answers else 235

        def answered(reply: Reply) -> None:
            if reply.code != wanted:
                text = b"Connected to %b but authentication was rejected (%b).\n" % (self._peer, step)
                self._quit(b"Z", text, reply)
            elif wanted == 235:
                self._authenticated = True
                self._stand()
            else:
                next_step, answer = self._pending_answers.pop(0)
                self._authenticate(next_step, answer(reply.text[4:]))

        self._say(line, answered)

    def _stand(self) -> None:
        self._standing = True
        self._send_envelope()

    # --------------------------------------------------------------- one message

    def _send_envelope(self) -> None:
        parameters = b" AUTH=<%b>" % self._sender if self._authenticated else b""
        self._say(b"MAIL FROM:<%b>%b" % (self._sender, parameters), self._mail_answered)
        if self._pipelining:
            self._send_group()

    def _send_group(self) -> None:
        """Send the next recipients ahead of their replies, and DATA after the last."""
        group = self._recipients[self._next_recipient : self._next_recipient + GROUP]
        self._output += [b"RCPT TO:<%b>\r\n" % recipient for recipient in group]
        if self._next_recipient + len(group) == len(self._recipients):
            self._output.append(b"DATA\r\n")

    def _mail_answered(self, reply: Reply) -> None:
        if reply.code >= 400:
            self.is_deferred = reply.code < 500 or self.is_deferred
            text = b"Connected to %b but sender was rejected.\n" % self._peer
            if not self._pipelining:
                self._quit(_letter(reply), text, reply)
                return
            # RCPT and DATA are on their way: their replies are awaited, but the message is decided.
            self._failure = _letter(reply) + text + _remote_said(reply)
        if self._pipelining:
            self._await(self._recipient_answered)
        else:
            self._say(b"RCPT TO:<%b>" % self._recipients[0], self._recipient_answered)

    def _recipient_answered(self, reply: Reply) -> None:
        if not self._failure:
            if reply.code >= 400:
                letter = b"s" if reply.code < 500 else b"h"
                text = b"%b%b does not like recipient.\n" % (letter, self._peer)
                self._reports.append(text + _remote_said(reply) + b"\0")
            else:
                self._accepted = True
                self._reports.append(b"r\0")
        self._next_recipient += 1
        if self._next_recipient < len(self._recipients):
            self._await_next_recipient()
            return
        if not self._accepted:
            self._failure = self._failure or b"DGiving up on %b.\n" % self._peer
        if self._pipelining:
            self._await(self._data_answered)
        elif self._failure:
            self._end_session(self._failure)
        else:
            self._say(b"DATA", self._data_answered)

    def _await_next_recipient(self) -> None:
        if not self._pipelining:
            self._say(b"RCPT TO:<%b>" % self._recipients[self._next_recipient], self._recipient_answered)
        elif self._next_recipient % GROUP == 0:
            if self._failure:
                self._end_session(self._failure)
            else:
                self._send_group()

    def _data_answered(self, reply: Reply) -> None:
        if self._failure:
            if reply.code < 400:
                # The server wants a message for nobody; an empty one ends the transaction (RFC 2920 section 3.1).
                self._output.append(b".\r\n")
            self._end_session(self._failure)
        elif reply.code >= 400:
            self._quit(_letter(reply), b"%b failed on DATA command.\n" % self._peer, reply)
        else:
            self._stuffing = DotStuffing()
            self._held = b""
            self.status = CONTENT

    def _finished(self, reply: Reply) -> None:
        if reply.code >= 400:
            self._quit(_letter(reply), b"%b failed after I sent the message.\n" % self._peer, reply)
            return
        self._critical = False
        text = b"K%b accepted message.\n%b" % (self._peer, _remote_said(reply))
        if self.keep:
            self._reports.append(text + b"\0")
            self._expected = self._idle
            self.status = DONE
        else:
            self._end_session(text)

    def _idle(self, reply: Reply) -> None:
        """Between two messages nothing is expected; `is_reusable` and the driver see to what comes."""

    # --------------------------------------------------------------- listening, sending, ending

    def _take_replies(self) -> None:
        while self.status == WAITING:
            reply = self._reader.next_reply()
            if reply is None:
                break
            self.answers += 1
            if reply.code == CLOSING and not self._critical:
                self.is_deferred = True
            self._expected(reply)

    def _say(self, line: bytes, expected: "Callable[[Reply], None]") -> None:
        self._output.append(line + b"\r\n")
        self._await(expected)

    def _await(self, expected: "Callable[[Reply], None]") -> None:
        self._expected = expected
        self.status = WAITING

    def _quit(self, letter: bytes, text: bytes, reply: Reply) -> None:
        self._end_session(letter + text + _remote_said(reply))

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


def _letter(reply: Reply) -> bytes:
    return b"D" if reply.code >= 500 else b"Z"


def _remote_said(reply: Reply) -> bytes:
    return b"Remote host said: " + reply.text.replace(b"\0", b"?")
