"""Client side of LMTP: SMTP as spoken to a mailbox store, with a reply for each recipient.

It differs from the SMTP machine in three points: LHLO has no older form to fall back to, and there is no TLS.  After
the message, the server sends one reply per accepted recipient.  The report has the same grammar: a recipient is `r`
if its own last reply was positive, `s` or `h` otherwise.

Source: RFC 2033.
"""

from eqmail_core.smtp.client import SmtpClient
from eqmail_core.smtp.exchange import recipient_letter, remote_said
from eqmail_core.smtp.reply_reader import Reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.dsn.parameters import DsnParameters


class LmtpClient(SmtpClient):
    """One session with an LMTP server; `peer` is its name in reports, `hello` our name."""

    HELLO = b"LHLO"

    __slots__ = ("_awaited", "_stored")

    def begin(self, sender: bytes, recipients: list[bytes], dsn: "DsnParameters | None" = None) -> None:
        """Start a message, see `SmtpClient.begin`."""
        self._awaited: list[int] | None = None
        self._stored: Reply | None = None
        super().begin(sender, recipients, dsn)

    def _hello_refused(self, reply: Reply) -> None:
        self._refuse_name(reply)

    def _finished(self, reply: Reply) -> None:
        """Process one recipient's reply to the message, in the order of the accepted recipients."""
        if self._awaited is None:
            self._awaited = [place for place, text in enumerate(self._reports) if text == b"r\0"]
        # A reply that is neither positive nor negative is out of step; it and all later ones match no recipient.
        is_out_of_step = not (reply.is_positive or reply.is_refusal)
        answered = self._awaited if is_out_of_step else self._awaited[:1]
        self._awaited = self._awaited[len(answered) :]
        if reply.is_positive:
            self._stored = reply
        else:
            text = b"%b%b failed after I sent the message.\n" % (recipient_letter(reply), self._peer)
            for index in answered:
                self._reports[index] = text + remote_said(reply) + b"\0"
            self.keep = self.keep and not is_out_of_step
        if self._awaited:
            self._await(self._finished)
        elif self._stored is not None:
            self._complete(self._stored)
        else:
            self._end_session(b"DGiving up on %b.\n" % self._peer)
