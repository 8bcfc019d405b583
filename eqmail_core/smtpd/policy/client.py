"""The identity of the client of one session, and the Received line made from it.

Source: smtp-server.md 4.4 (received.c); RFC 3848.
"""

from eqmail_core.mail.received import received

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.tls.session_info import TlsSessionInfo


class ClientIdentity:
    """The client data shown in the header of its messages.

    `remote_host`: its name as far as known, used as HELO until the client sends one; `remote_info`: its user from IDENT
    or AUTH; `tls_session` None: plain text; `vouched_for`: the address in the certificate that allowed it to relay.
    `is_utf8`: the current message needs SMTPUTF8.
    """

    __slots__ = (
        "_helo",
        "_local",
        "_protocol",
        "is_authenticated",
        "is_utf8",
        "remote_host",
        "remote_info",
        "remote_ip",
        "tls_session",
        "vouched_for",
    )

    def __init__(self, environ: dict[bytes, bytes]) -> None:
        self.remote_host = environ.get(b"TCPREMOTEHOST", b"unknown")
        self.remote_ip = environ.get(b"TCPREMOTEIP", b"unknown")
        self.remote_info = environ.get(b"TCPREMOTEINFO")
        self._local = environ.get(b"TCPLOCALHOST") or environ.get(b"TCPLOCALIP", b"unknown")
        self._helo: bytes | None = None
        self._protocol = b"SMTP"
        self.tls_session: TlsSessionInfo | None = None
        self.is_authenticated = False
        self.is_utf8 = False
        self.vouched_for: bytes | None = None

    def hello(self, name: bytes, protocol: bytes) -> None:
        """Record the HELO name and the protocol."""
        self._helo = name if name.lower() != self.remote_host.lower() else None
        self._protocol = protocol

    def tls_started(self, tls_session: "TlsSessionInfo", remote_info: bytes | None) -> None:
        """Record TLS; discard what the client sent before it."""
        self.tls_session = tls_session
        self.remote_info = remote_info
        self._helo = None
        self.is_authenticated = False

    def received(self, date: bytes) -> bytes:
        """Build the Received line; `date` as in `date822`."""
        return received(
            self.remote_host, self.remote_ip, self.remote_info, self._helo, self._local, self._protocol_name(), date
        )

    def _protocol_name(self) -> bytes:
        if self.tls_session is not None:
            text = self.tls_session.received_with(self.is_authenticated, self.vouched_for)
        else:
            text = b"ESMTPA" if self.is_authenticated else self._protocol
        # UTF8SMTPSA and similar, RFC 6531 section 4.3.
        return b"UTF8" + text.removeprefix(b"E") if self.is_utf8 else text
