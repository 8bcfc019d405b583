"""The session state visible to filters: the client, and the accepted transaction."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from eqmail_core.tls.session_info import TlsSessionInfo

    class ClientOfSession(Protocol):
        """The client as the SMTP server knows it; an unknown address is `unknown` or empty."""

        remote_host: bytes
        remote_ip: bytes
        remote_port: bytes
        local_ip: bytes
        local_port: bytes

        @property
        def may_relay(self) -> bool:
            """Whether it may send mail to any domain."""


_UNKNOWN = b"unknown"


class TransactionInfo:
    """One session with `client`; `own_name`: the name of this host.

    `helo` None: no HELO yet; `user` None: not authenticated; `sender` None: no transaction; `address`: the current one;
    `id`: the transaction id; `parameters`: those of the current command; `identity`: the value of AUTH= in MAIL.
    """

    __slots__ = (
        "_client",
        "address",
        "helo",
        "id",
        "identity",
        "is_extended",
        "method",
        "own_name",
        "parameters",
        "recipients",
        "sender",
        "tls_session",
        "user",
    )

    def __init__(self, client: "ClientOfSession", own_name: bytes) -> None:
        self._client = client
        self.own_name = own_name
        self.tls_session: TlsSessionInfo | None = None
        self.reset_client()

    def reset_client(self) -> None:
        """Discard what the client sent."""
        self.helo: bytes | None = None
        self.is_extended = False
        self.user: bytes | None = None
        self.method = b""
        self.reset_transaction()

    def reset_transaction(self) -> None:
        """Clear the transaction."""
        self.id = b""
        self.address = b""
        self.parameters: Sequence[bytes] = ()
        self.identity: bytes | None = None
        self.sender: bytes | None = None
        self.recipients: list[bytes] = []

    @property
    def ip(self) -> bytes:
        """The address of the client, b"" if unknown."""
        ip = self._client.remote_ip
        return b"" if ip == _UNKNOWN else ip

    @property
    def host(self) -> bytes:
        """The name of the client; its address in brackets if it has none."""
        return self._name or (b"[%b]" % self.ip if self.ip else _UNKNOWN)

    @property
    def _name(self) -> bytes:
        host = self._client.remote_host
        return b"" if host == _UNKNOWN else host

    @property
    def port(self) -> int:
        """The port of the client, 0 if unknown."""
        return _port(self._client.remote_port)

    @property
    def local_ip(self) -> bytes:
        """The address that the client connected to."""
        return self._client.local_ip

    @property
    def local_port(self) -> int:
        """The port that the client connected to, 0 if unknown."""
        return _port(self._client.local_port)

    @property
    def may_relay(self) -> bool:
        """Whether the client may relay."""
        return self._client.may_relay

    @property
    def _protocol(self) -> bytes:
        if not self.is_extended:
            return b"SMTP"
        return b"ESMTP" + b"S" * (self.tls_session is not None) + b"A" * (self.user is not None)

    def macros(self) -> dict[bytes, bytes]:
        """The state as milter macros; an unknown value is missing or empty."""
        known = {
            b"j": self.own_name,
            b"v": b"eQmail",
            b"_": b"%b [%b]" % (self._name, self.ip) if self._name and self.ip else self.host,
            b"r": self._protocol,
            b"s": self.helo or b"",
            b"i": self.id,
            b"{daemon_name}": b"eqmail-smtpd",
            b"{daemon_addr}": self.local_ip,
            b"{daemon_port}": b"%d" % self.local_port,
            b"{if_addr}": self.local_ip,
            b"{if_name}": self.own_name,
            b"{client_addr}": self.ip,
            b"{client_name}": self.host,
            b"{client_ptr}": self.host,
            b"{client_port}": b"%d" % self.port,
        }
        if self.identity is not None:
            known[b"{auth_author}"] = self.identity
        if self.user is not None:
            known |= {b"{auth_authen}": self.user, b"{auth_type}": self.method.upper()}
        if self.tls_session is not None:
            tls = self.tls_session
            known |= {b"{tls_version}": tls.version, b"{cipher}": tls.cipher, b"{cipher_bits}": b"%d" % tls.bits}
            known |= {b"{cert_subject}": tls.subject, b"{cert_issuer}": tls.issuer}
            known[b"{verify}"] = b"NO" if tls.emails is None else b"OK"
        if self.sender is not None:
            known |= {b"{mail_addr}": self.sender, b"{mail_host}": self.sender.rpartition(b"@")[2]}
            known |= {b"{rcpt_addr}": self.address, b"{rcpt_host}": self.address.rpartition(b"@")[2]}
        return known


def _port(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) < 6 and int(text) < 65536 else 0
