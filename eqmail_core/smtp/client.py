"""Client side of SMTP: one session for any number of messages; performs no I/O.

Input     server bytes in any fragmentation, and the message in pieces of LF-terminated lines.
Output    bytes to send; a `status` that names the input it needs next; and a report after each message.
          The report has the grammar of qmail-remote: recipient reports, then one message report, each ended by NUL.
Fails     never on server input; a broken connection is an input as well (`lost`).

With PIPELINING, MAIL, all RCPT and DATA are sent together, and every reply is still checked.

Source: RFC 5321, RFC 2920 (pipelining); delivery.md 5.6 (texts of the reports).
"""

from eqmail_core.auth.client import ClientCredentials
from eqmail_core.dsn.smtp_parameters import mail_parameters, recipient_parameters
from eqmail_core.dsn.xtext import encode_xtext
from eqmail_core.smtp.data import DotStuffer
from eqmail_core.smtp.exchange import CONTENT, DONE, HANDSHAKE, WAITING, letter, recipient_letter, remote_said
from eqmail_core.smtp.reply_reader import Reply
from eqmail_core.smtp.session_initiation import SessionInitiation
from eqmail_core.tls.client_policy import PLAIN, TlsPolicy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.dsn.parameters import DsnParameters

GO_AHEAD = 354

GROUP = 500
"""Maximum number of RCPT commands sent ahead of their replies."""


class SmtpClient(SessionInitiation):
    """One session with a server, starting at the greeting.

    `keep`: do not send QUIT after an accepted message, so that `begin` can start another one.
    """

    __slots__ = (
        "_accepted",
        "_dsn",
        "_failure",
        "_held",
        "_next_recipient",
        "_ready_state",
        "_recipients",
        "_sender",
        "_stuffing",
        "keep",
        "lacks_requiretls",
        "next_hop_sends_dsn",
    )

    def __init__(
        self,
        peer: bytes,
        hello: bytes,
        credentials: ClientCredentials | None = None,
        keep: bool = False,
        tls: TlsPolicy = PLAIN,
    ) -> None:
        super().__init__(peer, hello, credentials, tls)
        self.keep = keep
        self._ready_state = False
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
        self.lacks_requiretls = False
        """Whether, with TRY_NEXT, the server lacks REQUIRETLS, which this message needs."""
        self.said = b""
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

    def withhold(self) -> None:
        """Fail the message because it may not be sent any more; its end was not sent."""
        self._fail_at_once(b"ZThe lease of this node ended before the message was complete. (#4.3.2)\n")

    def lost(self, problem: bytes = b"") -> None:
        """Record a broken connection or a timeout; `problem` is the TLS error, if any."""
        if not self._lost_in_tls(problem) and self.status in (WAITING, CONTENT):
            notes = b"Possible duplicate! " if self._critical else b""
            notes += problem and problem + b" "
            died = b"ZConnected to %b but connection died. %b(#4.4.2)\n" % (self._peer, notes)
            self._fail_at_once(self._failure or died)

    def _ready_for_message(self) -> None:
        self._ready_state = True
        self._send_envelope()

    def _send_envelope(self) -> None:
        parameters = b" AUTH=" + (encode_xtext(self._sender) or b"<>") if self._authenticated else b""
        if self._dsn is not None:
            if self._dsn.is_utf8 and not self._is_offered(b"SMTPUTF8"):
                self._end_session(b"D%b does not take messages beyond ASCII (SMTPUTF8). (#5.6.7)\n" % self._peer)
                return
            if self._dsn.requires_tls and not (self._is_secured and self._is_offered(b"REQUIRETLS")):
                self.lacks_requiretls = True
                self._try_next(b"%b does not offer REQUIRETLS.\n" % self._peer)
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
        tls = b"TLS %b: %b.\n" % (self._tls.level, self._tls.why) if self._tls.why and self._is_secured else b""
        text = b"K%b accepted message.\n%b%b" % (self._peer, tls, remote_said(reply))
        if self.keep:
            self._reports.append(text + b"\0")
            self._expected = self._idle
            self.status = DONE
        else:
            self._end_session(text)

    def _idle(self, reply: Reply) -> None:
        """Ignore replies between two messages; `is_reusable` and the driver handle unexpected ones."""
