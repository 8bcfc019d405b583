"""What TLS is made of, what it tells about a client, and what follows from it.

Source: smtp-server.md 4.4 (Received), 4.7 (relaying by certificate; qmail-smtpd.c tls_verify); RFC 3848, RFC 8314.
"""

NO_EMAIL = b"contains no email address"
NOT_LISTED = b"email address not in my list of tlsclients"


class TlsUnavailable(Exception):
    """TLS cannot begin; the text says what is missing or wrong, with the reason."""


class TlsHandshakeError(Exception):
    """The client and we did not come to terms."""


class ServerTlsFiles:
    """Where the server's keys lie: absolute paths; the last three may lead to nothing.

    `names` is a folder with a file NAME.pem for each further name of the host; `authorities` vouch for clients, who are
    asked for a certificate if `asks_client`; `ciphers` are words for the library, None: those that it thinks safe.
    """

    __slots__ = ("asks_client", "authorities", "certificate", "ciphers", "dh", "names", "revoked")

    def __init__(
        self,
        certificate: str,
        names: str,
        ciphers: list[bytes] | None,
        authorities: str,
        revoked: str,
        dh: str,
        asks_client: bool,
    ) -> None:
        self.certificate = certificate
        self.names = names
        self.ciphers = ciphers
        self.authorities = authorities
        self.revoked = revoked
        self.dh = dh
        self.asks_client = asks_client


class TlsSessionInfo:
    """TLS of one connection.

    `emails` are the addresses in the certificate of the client, which was verified; None: it showed none.  `subject`
    and `issuer` are its names, as /CN=NAME; `bits` is the length of the key.
    """

    __slots__ = ("bits", "cipher", "email", "emails", "issuer", "subject", "version")

    def __init__(
        self,
        version: bytes,
        cipher: bytes,
        emails: list[bytes] | None = None,
        bits: int = 0,
        subject: bytes = b"",
        issuer: bytes = b"",
    ) -> None:
        self.version = version
        self.cipher = cipher
        self.emails = emails
        self.bits = bits
        self.subject = subject
        self.issuer = issuer
        self.email: bytes | None = None

    def received_with(self, is_authenticated: bool, vouched_for: bytes | None) -> bytes:
        """The protocol in a Received line, with remarks; `vouched_for` is the address that allowed relaying."""
        word = b"ESMTPSA" if is_authenticated else b"ESMTPS"
        text = b"%b (%b encrypted) (%b)" % (word, self.cipher, self.version)
        return text if vouched_for is None else text + b"\n  (cert %b)" % vouched_for

    def rejection_reason(self, listed: "frozenset[bytes]") -> bytes | None:
        """Why the certificate of the client does not let it relay, b"" where it has none; None: it does.

        The address that counts is `email` then.
        """
        if not listed or self.emails is None:
            return b""
        if not self.emails:
            return NO_EMAIL
        for email in self.emails:
            if email.lower() in listed:
                self.email = email
                return None
        return NOT_LISTED
