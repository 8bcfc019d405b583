"""TLS for the clients of the SMTP server: contexts made from the control files, and TLS on one connection.

A `ServerTls` performs no I/O: it stands between the bytes of a client and the conversation, for both drivers.

Fails: Unusable, where TLS cannot begin; HandshakeFailed.
Source: smtp-server.md 4.7 (qmail-smtpd.c tls_init); RFC 3207, RFC 8996 (no TLS below 1.2), RFC 6066 (names).
"""

import os
import ssl

from eqmail_core.text.sanitize import plain
from eqmail_core.tls.error_text import tls_error_text
from eqmail_core.tls.session_info import ServerTlsFiles, TlsHandshakeError, TlsSessionInfo, TlsUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Fingerprint = tuple[tuple[int, int, int] | None, ...]

PIECE = 65536
_NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")
# What the parts of a name in a certificate are called in one line.
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
    """Begins TLS for clients; reads the files again when they have changed, and keeps the old ones if that fails.

    `say` gets a sentence for the log when that happens.
    """

    def __init__(self, files: ServerTlsFiles, say: "Callable[[bytes], None]") -> None:
        self._files = files
        self._say = say
        self._contexts: dict[str, tuple[Fingerprint, ssl.SSLContext]] = {}
        # Certificates of names that were found broken, as they were then.
        self._complained: dict[str, object] = {}

    def open(self) -> "ServerTls":
        """TLS for one client, before its handshake.  Fails: Unusable."""
        return ServerTls(self._context(self._files.certificate))

    def check(self) -> None:
        """Read everything.  Fails: Unusable."""
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
            self._say(b"the certificates in use stay: " + _bytes(str(trouble)))
            context = known[1]
        else:
            context.sni_callback = self._choose
        self._contexts[certificate] = (stamps, context)
        return context

    def _choose(self, tls: "ssl.SSLObject", name: str | None, context: ssl.SSLContext) -> None:
        """Show the certificate for the name that the client asks for, where there is one."""
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
            # Once for each file: clients choose how often they ask for the name.
            if self._complained.get(path) == found:
                return
            self._complained[path] = found
            self._say(b"no certificate for " + name.encode() + b": " + _bytes(str(trouble)))


class ServerTls:
    """TLS on one connection: bytes in, words out, and the other way.

    `is_over`: the client has said that nothing more will come.
    """

    __slots__ = ("_incoming", "_outgoing", "_tls", "is_over", "is_shaking")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.is_over = False
        self.is_shaking = True

    def shake(self, data: bytes) -> bool:
        """Go on with the handshake; True when it is complete.  Fails: HandshakeFailed."""
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
        """What the client says with these bytes."""
        self._incoming.write(data)
        said = []
        try:
            while text := self._tls.read(PIECE):
                said.append(text)
            self.is_over = True
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLError, ValueError):
            # Whatever is wrong with it, it is no client any more.
            self.is_over = True
        return said[0] if len(said) == 1 else b"".join(said)

    def wrap(self, output: bytes) -> bytes:
        """The bytes that carry `output`, and whatever TLS itself has to say."""
        if output:
            try:
                self._tls.write(output)
            except ssl.SSLError:
                self.is_over = True
        return self._outgoing.read()

    def close_notify(self) -> bytes:
        """The bytes that end TLS; an answer to them is not waited for."""
        try:
            self._tls.unwrap()
        except (ssl.SSLError, ValueError):
            pass
        return self._outgoing.read()

    def session_info(self) -> TlsSessionInfo:
        """What there is to be told about it after the handshake."""
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


def _make_context(files: ServerTlsFiles, certificate: str) -> ssl.SSLContext:
    """Fails: Unusable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    # An empty password keeps the library from asking for one at a terminal.
    _do("missing certificate", lambda: context.load_cert_chain(certificate, password=""))
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


def file_fingerprint(path: str) -> "tuple[int, int, int] | None":
    """What changes with the content of a file; None where there is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _name(certificate: "ssl._PeerCertRetDictType", whose: str) -> bytes:
    """A name in a certificate in one line, /C=COUNTRY/CN=NAME."""
    words = [f"/{_SHORT.get(str(it[0]), it[0])}={it[1]}" for part in certificate.get(whose, ()) for it in part]
    return plain("".join(words).encode())


def _emails(certificate: "ssl._PeerCertRetDictType") -> list[bytes]:
    """Every address in a certificate: in its subject, as always, and among its other names, as today."""
    found = [str(it[1]) for part in certificate.get("subject", ()) for it in part if it[0] == "emailAddress"]
    found += [str(name[1]) for name in certificate.get("subjectAltName", ()) if name[0] == "email"]
    return [email.encode() for email in found]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
