"""Client side of SMTP: one session for any number of messages; performs no I/O.

Input     server bytes in any fragmentation, and the message in pieces of LF-terminated lines.
Output    bytes to send; a `status` that names the input it needs next; and a report after each message.
          The report has the grammar of qmail-remote: recipient reports, then one message report, each ended by NUL.
Fails     never on server input; a broken connection is an input as well (`lost`).

With PIPELINING, MAIL, all RCPT and DATA are sent together, and every reply is still checked.
TLS belongs to the driver: the machine signals when it must begin, and then discards all earlier input.

Source: RFC 5321, RFC 2920 (pipelining), RFC 3207, RFC 4954; delivery.md 5.6 (texts of the reports).
Long because one session is one machine: its states hand over to each other.
"""

from eqmail_core.auth.client import ClientCredentials, answers, choose_mechanism, first_line
from eqmail_core.dsn.parameters import encode_xtext
from eqmail_core.dsn.smtp_parameters import mail_parameters, recipient_parameters
from eqmail_core.smtp.data import DotStuffer
from eqmail_core.smtp.exchange import (
    CONTENT,
    DONE,
    HANDSHAKE,
    TRY_NEXT,
    WAITING,
    SmtpExchange,
    letter,
    recipient_letter,
    remote_said,
)
from eqmail_core.smtp.reply_reader import GARBLED, Reply, ReplyReader
from eqmail_core.tls.client_policy import PLAIN, TlsPolicy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from eqmail_core.dsn.parameters import DsnParameters

GO_AHEAD = 354

GROUP = 500
"""Maximum number of RCPT commands sent ahead of their replies."""


class SmtpClient(SmtpExchange):
    """One session with a server, starting at the greeting.

    `peer`: the server's address as reports show it; `hello`: our EHLO name; `tls`: the TLS policy for this server.
    `keep`: do not send QUIT after an accepted message, so that `begin` can start another one.
    """

    HELLO = b"EHLO"

    __slots__ = (
        "_accepted",
        "_authenticated",
        "_credentials",
        "_dsn",
        "_extensions",
        "_failure",
        "_held",
        "_hello",
        "_is_secured",
        "_next_recipient",
        "_pending_answers",
        "_pipelining",
        "_ready_state",
        "_recipients",
        "_sender",
        "_stuffing",
        "_tls",
        "_tls_refusal",
        "has_broken_tls",
        "keep",
        "next_hop_sends_dsn",
        "said",
    )

    def __init__(
        self,
        peer: bytes,
        hello: bytes,
        credentials: ClientCredentials | None = None,
        keep: bool = False,
        tls: TlsPolicy = PLAIN,
    ) -> None:
        super().__init__(peer, self._greeted)
        self._hello = hello
        self._credentials = credentials
        self.keep = keep
        self._tls = tls
        self._is_secured = False
        self._tls_refusal = b""
        self.has_broken_tls = False
        """Whether the server offered TLS but failed it.

        It disconnected at STARTTLS, or the handshake broke.
        """
        self._extensions: list[bytes] = []
        self._ready_state = False
        self._pipelining = False
        self._authenticated = False
        self._pending_answers: list[tuple[bytes, Callable[[bytes], bytes]]] = []
        self._stuffing = DotStuffer(guards_cr=True)
        self._held = b""

    def begin(self, sender: bytes, recipients: list[bytes], dsn: "DsnParameters | None" = None) -> None:
        """Start a message, on a new session after the greeting and EHLO.

        `sender`, `recipients` (at least one): as they stand between < and >, already quoted; `dsn`: DSN parameters.
        """
        self._sender = sender
        self._recipients = recipients
        self._dsn = dsn
        self.next_hop_sends_dsn = False
        """Whether the server received the DSN parameters and so sends the notifications itself."""
        self._begin_report()
        self._failure = b""
        self._accepted = False
        self._next_recipient = 0
        self.said = b""
        """With TRY_NEXT, the server's reply in the form used by reports."""
        self.status = HANDSHAKE if self._tls.is_implicit and not self._is_secured else WAITING
        if self._ready_state:
            self._send_envelope()

    @property
    def is_reusable(self) -> bool:
        """Whether another message may follow on this session."""
        return self.status == DONE and self.keep and self._expected == self._idle and self._reader.is_clean

    def receive(self, data: bytes) -> None:
        """Process bytes from the server, decrypted where TLS is active."""
        if self.status == HANDSHAKE:
            self._fail_injected()
            return
        self._reader.receive(data)
        self._take_replies()
        if self.status == CONTENT:
            self._take_early_answer()

    def supply(self, piece: bytes) -> None:
        """Send a piece of the message after CONTENT; b"" marks the end.

        Sending lags one piece behind, so a short message with an incomplete last line is not sent at all.
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
        if not self._reader.is_clean:
            self._fail_out_of_step()
            return
        self._critical = True
        self.may_retry = False
        self._output.append(b".\r\n")
        self._await(self._finished)

    def fail_reading(self) -> None:
        """Fail the message because it cannot be read to its end."""
        self._fail_at_once(b"ZUnable to read message. (#4.3.0)\n")

    def lost(self, problem: bytes = b"") -> None:
        """Record a broken connection or a timeout; `problem` is the TLS error, if any."""
        if self.status == HANDSHAKE:
            self.tls_failed(b"TLS connect failed: " + (problem or b"connection died"), is_broken=True)
        elif self._tls_refusal or self._expected == self._starttls_answered:
            refused = self._tls_refusal and b" was refused (%b) and" % self._tls_refusal
            self.tls_failed(b"TLS connect failed: STARTTLS%b connection died" % (refused or b","), is_broken=True)
        elif self.status in (WAITING, CONTENT):
            notes = b"Possible duplicate! " if self._critical else b""
            notes += problem and problem + b" "
            died = b"ZConnected to %b but connection died. %b(#4.4.2)\n" % (self._peer, notes)
            self._fail_at_once(self._failure or died)

    # --------------------------------------------------------------- TLS

    def tls_established(self) -> None:
        """Continue after a successful handshake and certificate check.

        Discard all earlier server input.
        """
        self._is_secured = True
        self._reader = ReplyReader()
        self._pipelining = False
        if self._tls.is_implicit:
            self._await(self._greeted)
        else:
            self._greet()

    def tls_failed(self, problem: bytes, is_broken: bool = False, is_connected: bool = False) -> None:
        """Fail the message because TLS cannot begin or the server's certificate is not accepted.

        `is_broken`: the server failed to do TLS; `is_connected`: TLS was established, but with the wrong server.
        """
        self.has_broken_tls = is_broken
        self._fail_at_once(b"Z%b; connect%b to %b.\n" % (problem, b"ed" if is_connected else b"ing", self._peer))

    def _fail_injected(self) -> None:
        """Fail because plain text arrived before the handshake.

        None of it is processed (RFC 3207 section 6).
        """
        self.tls_failed(b"TLS connect failed: plain text behind the answer to STARTTLS")

    def _starttls_answered(self, reply: Reply) -> None:
        if reply.code == 220:
            if self._reader.is_clean:
                self.status = HANDSHAKE
            else:
                self._fail_injected()
        elif self._tls.demanded_by or not reply.is_refusal:
            demand = self._tls.demanded_by and b" while %b exists" % self._tls.demanded_by
            self._quit(b"Z", b"STARTTLS rejected%b; connecting to %b.\n" % (demand, self._peer), reply)
        else:
            self._send_ehlo()
            # Kept until the next reply: many servers disconnect after such an answer.
            self._tls_refusal = reply.text.partition(b"\n")[0].replace(b"\0", b"?")

    # --------------------------------------------------------------- greeting, EHLO, AUTH

    def _greeted(self, reply: Reply) -> None:
        if reply.code == 220:
            self._greet()
        elif self._tls.is_implicit:
            self._quit(b"Z", b"TLS Connected to %b but greeting failed.\n" % self._peer, reply)
        elif 400 <= reply.code < GARBLED:
            self.said = remote_said(reply)
            self.status = TRY_NEXT
        else:
            self._quit(letter(reply), b"Connected to %b but greeting failed.\n" % self._peer, reply)

    def _greet(self) -> None:
        self._send_command(b"%b %b" % (self.HELLO, self._hello), self._ehlo_answered)

    def _ehlo_answered(self, reply: Reply) -> None:
        if reply.code != 250 and not reply.is_refusal:
            self._refuse_name(reply)
            return
        self._extensions = reply.lines()[1:] if reply.code == 250 else []
        if self._tls.is_wanted and not self._is_secured:
            if self._is_offered(b"STARTTLS"):
                self._send_command(b"STARTTLS", self._starttls_answered)
                return
            if self._tls.demanded_by:
                text = b"ZNo TLS achieved while %b exists; connecting to %b.\n"
                self._end_session(text % (self._tls.demanded_by, self._peer))
                return
        if reply.code == 250:
            self._send_ehlo()
        else:
            self._hello_refused(reply)

    def _hello_refused(self, _reply: Reply) -> None:
        """Fall back to HELO for a server without extensions."""
        self._send_command(b"HELO " + self._hello, self._helo_answered)

    def _is_offered(self, keyword: bytes) -> bool:
        return any(line.strip().upper() == keyword for line in self._extensions)

    def _send_ehlo(self) -> None:
        """Continue after EHLO, and after TLS if it is used."""
        self._pipelining = self._is_offered(b"PIPELINING")
        mechanism = choose_mechanism(self._extensions) if self._credentials else None
        if self._credentials and mechanism:
            self._pending_answers = answers(mechanism, self._credentials)
            self._authenticate(b"AUTH " + mechanism, first_line(mechanism, self._credentials))
        else:
            self._ready_for_message()

    def _helo_answered(self, reply: Reply) -> None:
        if reply.code == 250:
            self._ready_for_message()
        else:
            self._refuse_name(reply)

    def _refuse_name(self, reply: Reply) -> None:
        self._quit(b"Z", b"Connected to %b but my name was rejected.\n" % self._peer, reply)

    def _authenticate(self, step: bytes, line: bytes) -> None:
        wanted = 334 if self._pending_answers else 235

        def answered(reply: Reply) -> None:
            if reply.code != wanted:
                text = b"Connected to %b but authentication was rejected (%b).\n" % (self._peer, step)
                self._quit(b"Z", text, reply)
            elif wanted == 235:
                self._authenticated = True
                self._ready_for_message()
            else:
                next_step, answer = self._pending_answers.pop(0)
                self._authenticate(next_step, answer(reply.text[4:]))

        self._send_command(line, answered)

    def _ready_for_message(self) -> None:
        self._ready_state = True
        self._send_envelope()

    # --------------------------------------------------------------- one message

    def _send_envelope(self) -> None:
        parameters = b" AUTH=" + (encode_xtext(self._sender) or b"<>") if self._authenticated else b""
        if self._dsn is not None:
            if self._dsn.is_utf8 and not self._is_offered(b"SMTPUTF8"):
                self._end_session(b"D%b does not take messages beyond ASCII (SMTPUTF8). (#5.6.7)\n" % self._peer)
                return
            self.next_hop_sends_dsn = self._is_offered(b"DSN")
            parameters += mail_parameters(self._dsn, self.next_hop_sends_dsn)
        self._send_command(b"MAIL FROM:<%b>%b" % (self._sender, parameters), self._mail_answered)
        if self._pipelining and self.status == WAITING:
            self._send_group()

    def _send_group(self) -> None:
        """Send the next group of RCPT commands ahead of their replies, and DATA after the last one."""
        group = self._recipients[self._next_recipient : self._next_recipient + GROUP]
        if self.next_hop_sends_dsn:
            self._output += [self._rcpt(self._next_recipient + at) + b"\r\n" for at in range(len(group))]
        else:
            self._output += [b"RCPT TO:<%b>\r\n" % recipient for recipient in group]
        if self._next_recipient + len(group) == len(self._recipients):
            self._output.append(b"DATA\r\n")

    def _rcpt(self, index: int) -> bytes:
        """Build RCPT TO for one recipient, with DSN parameters where the server offers DSN."""
        command = b"RCPT TO:<%b>" % self._recipients[index]
        if self._dsn is None or not self.next_hop_sends_dsn:
            return command
        return command + recipient_parameters(self._dsn.recipient(index))

    def _mail_answered(self, reply: Reply) -> None:
        if reply.is_positive:
            self.may_retry = False
        else:
            text = b"Connected to %b but sender was rejected.\n" % self._peer
            if not self._pipelining or not reply.is_refusal:
                self._quit(letter(reply), text, reply)
                return
            # RCPT and DATA are already sent: their replies are awaited, but the message has failed.
            self._failure = letter(reply) + text + remote_said(reply)
        if self._pipelining:
            self._await(self._recipient_answered)
        else:
            self._send_command(self._rcpt(0), self._recipient_answered)

    def _recipient_answered(self, reply: Reply) -> None:
        if not self._failure:
            if reply.is_positive:
                self._accepted = True
                self._reports.append(b"r\0")
            else:
                text = b"%b%b does not like recipient.\n" % (recipient_letter(reply), self._peer)
                self._reports.append(text + remote_said(reply) + b"\0")
        if not (reply.is_positive or reply.is_refusal):
            self._end_session(self._failure or b"ZGiving up on %b.\n" % self._peer)
            return
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
            self._send_command(b"DATA", self._data_answered)

    def _await_next_recipient(self) -> None:
        if not self._pipelining:
            self._send_command(self._rcpt(self._next_recipient), self._recipient_answered)
        elif self._next_recipient % GROUP == 0:
            if self._failure:
                self._end_session(self._failure)
            elif not self._reader.is_clean:
                self._fail_out_of_step()
            else:
                self._send_group()

    def _data_answered(self, reply: Reply) -> None:
        if self._failure:
            if reply.code == GO_AHEAD:
                # The server expects a message without recipients; an empty one ends the transaction (RFC 2920 section
                # 3.1).
                self._output.append(b".\r\n")
            self._end_session(self._failure)
        elif reply.code != GO_AHEAD:
            self._quit(letter(reply), b"%b failed on DATA command.\n" % self._peer, reply)
        else:
            self._stuffing = DotStuffer(guards_cr=True)
            self._held = b""
            self.status = CONTENT

    def _take_early_answer(self) -> None:
        """Check for an early reply to the message; it can only be a refusal (RFC 5321 4.2.5).

        Nothing more is sent then, not even QUIT: the server would read it as a line of the message.
        """
        reply = self._reader.next_reply()
        if reply is None:
            return
        self._count(reply)
        if reply.is_refusal:
            text = b"%b failed after I sent the message.\n" % self._peer
            self._fail_at_once(letter(reply) + text + remote_said(reply))
        else:
            self._fail_out_of_step(reply)

    def _finished(self, reply: Reply) -> None:
        if reply.is_positive:
            self._complete(reply)
        else:
            self._quit(letter(reply), b"%b failed after I sent the message.\n" % self._peer, reply)

    def _complete(self, reply: Reply) -> None:
        """Report the message as accepted with `reply`."""
        self._critical = False
        text = b"K%b accepted message.\n%b" % (self._peer, remote_said(reply))
        if self.keep:
            self._reports.append(text + b"\0")
            self._expected = self._idle
            self.status = DONE
        else:
            self._end_session(text)

    def _count(self, reply: Reply) -> None:
        super()._count(reply)
        self._tls_refusal = b""

    def _idle(self, reply: Reply) -> None:
        """Ignore replies between two messages; `is_reusable` and the driver handle unexpected ones."""
