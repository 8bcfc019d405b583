"""TLS towards other servers: contexts from the control files, and TLS on one connection.

`ClientTls` performs no I/O: it translates between the bytes of a socket and a client machine, for any driver.

Fails: never; errors are passed to the machine, which reports them.
Source: delivery.md 5.6 (TLS client); RFC 3207, RFC 8996 (no TLS below 1.2).
"""

import os
import ssl

from eqmail_core.smtp.client import SmtpClient
from eqmail_core.smtp.exchange import HANDSHAKE
from eqmail_core.system.files import fingerprint_of
from eqmail_core.tls.client_policy import TlsPolicy, name_rejection_reason
from eqmail_core.tls.error_text import tls_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Fingerprint = tuple[int, int, int]

    Terms = tuple[bytes, bytes]
    """The CA file that must verify the server (b"": none required), and the ciphers."""

PIECE = 65536
MAX_REMEMBERED = 256

_DEFAULT_CIPHERS = b"DEFAULT"


class ClientTlsContexts:
    """Creates TLS connections; one instance per reading of the settings.

    Paths are relative to `home`, as reports show them.  `certificate`: our client certificate, used if it exists.
    `ciphers_for(host)` returns the ciphers for a server (b"": the library's default) and the file that sets them.
    """

    def __init__(self, home: str, certificate: str, ciphers_for: "Callable[[bytes], tuple[bytes, str]]") -> None:
        self._home = home
        self._certificate = certificate
        self._ciphers_for = ciphers_for
        self._contexts: dict[Terms, tuple[Fingerprint, ssl.SSLContext]] = {}
        self._remembered: dict[tuple[bytes, Terms], ssl.SSLSession] = {}

    def open(self, client: SmtpClient, host: bytes, policy: TlsPolicy) -> "ClientTls | None":
        """Begin TLS with `host` for a waiting machine.

        None if it failed and the machine was informed.
        """
        ciphers, said_by = self._ciphers_for(host)
        config = (policy.demanded_by, ciphers)
        try:
            context = self._context(config, said_by)
        except _TlsFileError as trouble:
            client.tls_failed(b"TLS unable to load " + trouble.args[0])
            return None
        key = (host, config)
        known = self._remembered.get(key)

        def remember(session: ssl.SSLSession) -> None:
            if key not in self._remembered and len(self._remembered) >= MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[key] = session

        return ClientTls(client, context, host, policy, known, remember)

    def _context(self, config: "Terms", said_by: str) -> ssl.SSLContext:
        """Return the TLS context for these settings.

        `said_by` is the file with the ciphers.  Fails: _TlsFileError.
        """
        authorities, ciphers = config
        fingerprint = self._fingerprint(authorities) if authorities else (0, 0, 0)
        known = self._contexts.get(config)
        if known and known[0] == fingerprint:
            return known[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        _load(said_by, lambda: context.set_ciphers((ciphers or _DEFAULT_CIPHERS).decode("latin-1")))
        try:
            # An empty password keeps the library from prompting at a terminal.
            own = f"{self._home}/{self._certificate}"
            _load(self._certificate, lambda: context.load_cert_chain(own, password=""))
        except FileNotFoundError:
            pass
        if authorities:
            name = os.fsdecode(authorities)
            try:
                _load(name, lambda: context.load_verify_locations(f"{self._home}/{name}"))
            except FileNotFoundError as error:
                raise _TlsFileError(authorities + b": " + _error_text(error)) from error
            context.verify_mode = ssl.CERT_REQUIRED
        # Sessions belong to their context.
        self._remembered = {key: it for key, it in self._remembered.items() if key[1] != config}
        self._contexts[config] = (fingerprint, context)
        return context

    def _fingerprint(self, path: bytes) -> "Fingerprint":
        try:
            return fingerprint_of(os.stat(f"{self._home}/{os.fsdecode(path)}"))
        except OSError as error:
            raise _TlsFileError(path + b": " + _error_text(error)) from error


class ClientTls:
    """TLS on one connection, from the handshake on, for the machine `client`."""

    __slots__ = ("_client", "_host", "_incoming", "_is_up", "_outgoing", "_policy", "_remember", "_tls")

    def __init__(
        self,
        client: SmtpClient,
        context: ssl.SSLContext,
        host: bytes,
        policy: TlsPolicy,
        known: ssl.SSLSession | None,
        remember: "Callable[[ssl.SSLSession], None]",
    ) -> None:
        self._client = client
        self._host = host
        self._policy = policy
        self._remember = remember
        self._is_up = False
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        name = host.decode("latin-1").rstrip(".")
        try:
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name, session=known)
        except ValueError:
            # Not every host is valid as a server name.
            self._tls = context.wrap_bio(self._incoming, self._outgoing, session=known)
        self._shake()

    def receive(self, data: bytes) -> None:
        """Decrypt bytes from the socket and pass the plain text to the machine."""
        self._incoming.write(data)
        if self._client.status == HANDSHAKE:
            self._shake()
        if self._client.status == HANDSHAKE:
            return
        try:
            while text := self._tls.read(PIECE):
                self._client.receive(text)
            self._client.lost()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._client.lost()
        except ssl.SSLError as error:
            self._client.lost(_error_text(error))

    def wrap(self, output: bytes) -> bytes:
        """Encrypt `output` of the machine; the result includes TLS's own records."""
        if output:
            try:
                self._tls.write(output)
            except ssl.SSLError as error:
                self._client.lost(_error_text(error))
        return self._outgoing.read()

    def close_notify(self) -> bytes:
        """Return the bytes that end TLS; the connection can be closed afterwards."""
        if self._is_up:
            self._is_up = False
            try:
                session = self._tls.session
                if session is not None and session.has_ticket:
                    self._remember(session)
                self._tls.unwrap()
            except (ssl.SSLError, ValueError):
                # Raised as well while the peer's close_notify is outstanding; it is not awaited.
                pass
        return self._outgoing.read()

    def _shake(self) -> None:
        client = self._client
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLCertVerificationError as error:
            text = b"TLS unable to verify server with %b: %b" % (
                self._policy.demanded_by,
                error.verify_message.encode(),
            )
            client.tls_failed(text, is_connected=True)
            return
        except ssl.SSLError as error:
            client.tls_failed(b"TLS connect failed: " + _error_text(error), is_broken=True)
            return
        self._is_up = True
        rejection_reason = self._rejection_reason() if self._policy.demanded_by else b""
        if rejection_reason:
            text = b"TLS unable to verify server %b: %b" % (self._host.rstrip(b"."), rejection_reason)
            client.tls_failed(text, is_connected=True)
        else:
            client.tls_established()

    def _rejection_reason(self) -> bytes:
        """Return why the verified certificate is not the expected one; b"" if it is."""
        certificate = self._tls.getpeercert()
        if not certificate:
            return b"no certificate provided"
        alternatives = [str(it[1]) for it in certificate.get("subjectAltName", ()) if it[0] == "DNS"]
        names = [str(it[1]) for part in certificate.get("subject", ()) for it in part if it[0] == "commonName"]
        return name_rejection_reason(self._host, alternatives, names[0] if names else None)


class _TlsFileError(Exception):
    """A file that cannot be used, and the reason."""


def _load(name: str, action: "Callable[[], object]") -> None:
    """Run `action` and name the file `name` in errors.  Fails: _TlsFileError, FileNotFoundError."""
    try:
        action()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise _TlsFileError(os.fsencode(name) + b": " + _error_text(error)) from error


def _error_text(error: Exception) -> bytes:
    return tls_error_text(error).encode("utf-8", "replace")
