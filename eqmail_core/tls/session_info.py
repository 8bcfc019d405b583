"""The server's TLS files, the parameters of a TLS session, and what they permit the client.

Source: smtp-server.md 4.4 (Received), 4.7 (relaying by certificate; qmail-smtpd.c tls_verify); RFC 3848, RFC 8314.
"""

NO_EMAIL = b"contains no email address"
NOT_LISTED = b"email address not in my list of tlsclients"


class TlsUnavailable(Exception):
    """TLS cannot begin; the text names the missing or invalid file, with the reason."""


class TlsHandshakeError(Exception):
    """The TLS handshake with the client failed."""


class ServerTlsFiles:
    """The server's TLS settings; all paths are absolute.

    The files `authorities`, `revoked` and `dh` may be missing.
    `names`: a directory with a file NAME.pem for each further name of the host.
    `authorities`: the authorities that sign client certificates. `asks_client`: request a client certificate.
    `ciphers`: words of OpenSSL's cipher list, None for the library's default.
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
    """The TLS parameters of one connection.

    `emails`: the addresses of the verified client certificate; None without a certificate.
    `subject`, `issuer`: its names, such as /CN=NAME. `bits`: the key length of the cipher.
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
        """Return the protocol clause of a Received line, with comments.

        `vouched_for`: the certificate address that permitted relaying, None without one.
        """
        word = b"ESMTPSA" if is_authenticated else b"ESMTPS"
        text = b"%b (%b encrypted) (%b)" % (word, self.cipher, self.version)
        return text if vouched_for is None else text + b"\n  (cert %b)" % vouched_for

    def rejection_reason(self, listed: "frozenset[bytes]") -> bytes | None:
        """Return why the client's certificate does not permit relaying; None if it does.

        b"" if there is no certificate or no list. If relaying is permitted, `email` is set to the matching address.
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
