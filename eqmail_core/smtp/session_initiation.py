"""The beginning of a client's session: greeting, EHLO, STARTTLS and AUTH, up to the first message; performs no I/O.

TLS belongs to the driver: the machine signals when it must begin, and then discards all earlier input.

Fails: never on server input.
Source: RFC 5321 sections 3.1 and 3.2, RFC 3207, RFC 4954; delivery.md 5.6 (texts of the reports).
"""

from eqmail_core.auth.client import ClientCredentials, answers, choose_mechanism, first_line
from eqmail_core.smtp.exchange import HANDSHAKE, TRY_NEXT, SmtpExchange, letter, remote_said
from eqmail_core.smtp.reply_reader import GARBLED, Reply, ReplyReader
from eqmail_core.tls.client_policy import PLAIN, TlsPolicy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class SessionInitiation(SmtpExchange):
    """A session until messages may be sent; then `_ready_for_message` is called.

    `peer`: the server's address as reports show it; `hello`: our EHLO name; `tls`: the TLS policy for this server.
    """

    HELLO = b"EHLO"

    __slots__ = (
        "_authenticated",
        "_credentials",
        "_extensions",
        "_hello",
        "_is_secured",
        "_pending_answers",
        "_pipelining",
        "_tls",
        "has_broken_tls",
        "said",
    )

    def __init__(
        self, peer: bytes, hello: bytes, credentials: ClientCredentials | None = None, tls: TlsPolicy = PLAIN
    ) -> None:
        super().__init__(peer, self._greeted)
        self._hello = hello
        self._credentials = credentials
        self._tls = tls
        self._is_secured = False
        self.has_broken_tls = False
        """Whether the server offered TLS but failed it.

        It disconnected at STARTTLS, or the handshake broke.
        """
        self.said = b""
        """With TRY_NEXT, the server's reply in the form used by reports."""
        self._extensions: list[bytes] = []
        self._pipelining = False
        self._authenticated = False
        self._pending_answers: list[tuple[bytes, Callable[[bytes], bytes]]] = []

    def _lost_in_tls(self, problem: bytes) -> bool:
        """Report a connection that broke because of TLS; return whether that was the cause."""
        if self.status == HANDSHAKE:
            self.tls_failed(b"TLS connect failed: " + (problem or b"connection died"), is_broken=True)
        elif self._tls_refusal or self._expected == self._starttls_answered:
            refused = self._tls_refusal and b" was refused (%b) and" % self._tls_refusal
            self.tls_failed(b"TLS connect failed: STARTTLS%b connection died" % (refused or b","), is_broken=True)
        else:
            return False
        return True

    # TLS.

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
        text = b"%b; connect%b to %b.\n" % (problem, b"ed" if is_connected else b"ing", self._peer)
        if self._tls.may_try_next:
            self._try_next(text)
        else:
            self._fail_at_once(b"Z" + text)

    def _try_next(self, said: bytes) -> None:
        """Leave the message for another server, for the reason `said`."""
        self.said = said
        # A connection that breaks now has nothing to add.
        self._expected = self._ignored
        self._tls_refusal = b""
        self.status = TRY_NEXT

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
        elif self._tls.demand or not reply.is_refusal:
            demand = self._tls.demand and b" while " + self._tls.demand
            text = b"STARTTLS rejected%b; connecting to %b.\n" % (demand, self._peer)
            if self._tls.may_try_next:
                self._try_next(text + remote_said(reply))
            else:
                self._quit(b"Z", text, reply)
        else:
            self._send_ehlo()
            # Kept until the next reply: many servers disconnect after such an answer.
            self._tls_refusal = reply.text.partition(b"\n")[0].replace(b"\0", b"?")

    # Greeting, EHLO, AUTH.

    def _greeted(self, reply: Reply) -> None:
        if reply.code == 220:
            self._greet()
        elif self._tls.is_implicit:
            self._quit(b"Z", b"TLS Connected to %b but greeting failed.\n" % self._peer, reply)
        elif 400 <= reply.code < GARBLED:
            self._try_next(remote_said(reply))
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
            if self._tls.demand:
                text = b"No TLS achieved while %b; connecting to %b.\n" % (self._tls.demand, self._peer)
                if self._tls.may_try_next:
                    self._try_next(text)
                else:
                    self._end_session(b"Z" + text)
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
        """Begin the first message."""
        raise NotImplementedError
