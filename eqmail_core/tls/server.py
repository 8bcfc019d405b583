"""TLS of the SMTP server: contexts from the control files, and TLS on one connection.

A `ServerTls` performs no I/O. It converts between a client's bytes and the session, for both drivers.

Fails: TlsUnavailable if TLS cannot begin; TlsHandshakeError.
Source: smtp-server.md 4.7 (qmail-smtpd.c tls_init); RFC 3207, RFC 8996 (no TLS below 1.2), RFC 6066 (names).
"""

import os
import ssl

from eqmail_core.system.files import file_fingerprint
from eqmail_core.text.sanitize import plain
from eqmail_core.tls.error_text import tls_error_text
from eqmail_core.tls.session_info import ServerTlsFiles, TlsHandshakeError, TlsSessionInfo, TlsUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Fingerprint = tuple[tuple[int, int, int] | None, ...]

PIECE = 65536
# More of a certificate file than its first certificate takes.
_MAX_CHAIN = 65536
_NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")
# Short names of the components of a distinguished name.
_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
}
_NO_CONTEXT = "unable to initialize ctx"


class ServerTlsContexts:
    """Creates TLS sessions for clients and reads changed files again.

    If that fails, the old certificates stay in use, and `write_log` gets a line.
    """

    def __init__(self, files: ServerTlsFiles, write_log: "Callable[[bytes], None]") -> None:
        self._files = files
        self._write_log = write_log
        self._contexts: dict[str, tuple[Fingerprint, ssl.SSLContext]] = {}
        # Fingerprints of broken certificate files that have been logged, by path.
        self._complained: dict[str, object] = {}

    def open(self) -> "ServerTls":
        """Create TLS for one client, before its handshake.  Fails: TlsUnavailable."""
        return ServerTls(self._context(self._files.certificate))

    def check(self) -> None:
        """Read all files.  Fails: TlsUnavailable."""
        self._context(self._files.certificate)

    def _context(self, certificate: str) -> ssl.SSLContext:
        files = self._files
        stamps = tuple(file_fingerprint(path) for path in (certificate, files.authorities, files.revoked))
        known = self._contexts.get(certificate)
        if known and known[0] == stamps:
            return known[1]
        try:
            context = _make_context(files, certificate)
        except TlsUnavailable as trouble:
            if not known:
                raise
            self._write_log(b"the certificates in use stay: " + _bytes(str(trouble)))
            context = known[1]
        else:
            context.sni_callback = self._choose
        self._contexts[certificate] = (stamps, context)
        return context

    def _choose(self, tls: "ssl.SSLObject", name: str | None, context: ssl.SSLContext) -> None:
        """Select the certificate for the server name that the client requests, if there is one."""
        name = (name or "").lower().rstrip(".")
        if not name or name[0] == "." or not _NAME_LETTERS.issuperset(name):
            return
        path = f"{self._files.names}/{name}.pem"
        found = file_fingerprint(path)
        if found is None:
            return
        try:
            tls.context = self._context(path)
        except TlsUnavailable as trouble:
            # Logged once for each version of the file, because clients control how often they request the name.
            if self._complained.get(path) == found:
                return
            self._complained[path] = found
            self._write_log(b"no certificate for " + name.encode() + b": " + _bytes(str(trouble)))


class ServerTls:
    """TLS on one connection: decrypts input and encrypts output.

    `is_over`: the client has ended TLS, or the connection is broken.
    """

    __slots__ = ("_incoming", "_outgoing", "_tls", "is_over", "is_shaking")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.is_over = False
        self.is_shaking = True

    def shake(self, data: bytes) -> bool:
        """Continue the handshake with `data`; return True when complete.

        Fails: TlsHandshakeError.
        """
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except (ssl.SSLError, ValueError) as error:
            raise TlsHandshakeError(tls_error_text(error)) from error
        self.is_shaking = False
        return True

    def receive(self, data: bytes) -> bytes:
        """Decrypt the bytes of the client."""
        self._incoming.write(data)
        said = []
        try:
            while text := self._tls.read(PIECE):
                said.append(text)
            self.is_over = True
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLError, ValueError):
            # After any TLS error nothing more can be read from the client.
            self.is_over = True
        return said[0] if len(said) == 1 else b"".join(said)

    def wrap(self, output: bytes) -> bytes:
        """Encrypt `output`; the result includes pending bytes of TLS itself."""
        if output:
            try:
                self._tls.write(output)
            except ssl.SSLError:
                self.is_over = True
        return self._outgoing.read()

    def close_notify(self) -> bytes:
        """Return the bytes that end TLS; no answer to them is expected."""
        try:
            self._tls.unwrap()
        except (ssl.SSLError, ValueError):
            pass
        return self._outgoing.read()

    def end_point(self) -> bytes:
        """Return the channel binding tls-server-end-point of the certificate in use; b"" if it has none."""
        from eqmail_core.tls.certificate import end_point

        context = self._tls.context
        return end_point(context.chain) if isinstance(context, _ServerContext) else b""

    def session_info(self) -> TlsSessionInfo:
        """Return the parameters of the session after the handshake."""
        cipher, _, bits = self._tls.cipher() or ("unknown", "", 0)
        certificate = self._tls.getpeercert() or {}
        version = self._tls.version() or "TLS"
        return TlsSessionInfo(
            version.encode(),
            cipher.encode(),
            _emails(certificate) if certificate else None,
            bits,
            _name(certificate, "subject"),
            _name(certificate, "issuer"),
        )


class _ServerContext(ssl.SSLContext):
    """A context that knows its certificate."""

    chain = b""


def _make_context(files: ServerTlsFiles, certificate: str) -> ssl.SSLContext:
    """Create a context from the files.  Fails: TlsUnavailable."""
    context = _ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    # An empty password keeps the library from asking for one at a terminal.
    _do("missing certificate", lambda: context.load_cert_chain(certificate, password=""))
    with open(certificate, "rb") as file:
        context.chain = file.read(_MAX_CHAIN)
    if files.ciphers:
        words = b":".join(files.ciphers).decode("latin-1")
        _do("unable to initialize ssl", lambda: context.set_ciphers(words))
    if os.path.exists(files.dh):
        _do(_NO_CONTEXT, lambda: context.load_dh_params(files.dh))
    if files.asks_client:
        _do(_NO_CONTEXT, lambda: context.load_verify_locations(files.authorities))
        if os.path.exists(files.revoked):
            _do(_NO_CONTEXT, lambda: context.load_verify_locations(files.revoked))
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _do(what: str, action: "Callable[[], object]") -> None:
    try:
        action()
    except (OSError, ValueError) as error:
        raise TlsUnavailable(f"{what}: {tls_error_text(error)}") from error


def _name(certificate: "ssl._PeerCertRetDictType", whose: str) -> bytes:
    """Return a distinguished name of a certificate in one line, /C=COUNTRY/CN=NAME."""
    words = [f"/{_SHORT.get(str(it[0]), it[0])}={it[1]}" for part in certificate.get(whose, ()) for it in part]
    return plain("".join(words).encode())


def _emails(certificate: "ssl._PeerCertRetDictType") -> list[bytes]:
    """Return all email addresses of a certificate: of its subject and its alternative names."""
    found = [str(it[1]) for part in certificate.get("subject", ()) for it in part if it[0] == "emailAddress"]
    found += [str(name[1]) for name in certificate.get("subjectAltName", ()) if name[0] == "email"]
    return [email.encode() for email in found]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
