"""TLS towards other servers: contexts from the control files, and TLS on one connection.

`ClientTls` performs no I/O: it translates between the bytes of a socket and a client machine, for any driver.

Fails: never; errors are passed to the machine, which reports them.
Source: delivery.md 5.6 (TLS client); RFC 3207, RFC 8996 (no TLS below 1.2).
"""

import os
import ssl
from datetime import UTC, datetime

from eqmail_core.smtp.client import SmtpClient
from eqmail_core.smtp.exchange import HANDSHAKE
from eqmail_core.system.files import fingerprint_of
from eqmail_core.tls.client_policy import TlsPolicy, name_rejection_reason
from eqmail_core.tls.dane import check_chain, digest_of
from eqmail_core.tls.error_text import tls_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Fingerprint = tuple[int, int, int]

    Terms = tuple[bytes, bool, bytes]
    """The CA file that must verify the server (b"": none), whether the system's CAs must, and the ciphers."""

    SessionKey = tuple[object, ...]

PIECE = 65536
MAX_REMEMBERED = 256
"""Most TLS sessions that are kept for resumption."""

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
        self._remembered: dict[SessionKey, tuple[Terms, ssl.SSLSession]] = {}

    def open(
        self, client: SmtpClient, host: bytes, policy: TlsPolicy, address: tuple[str, int] = ("", 0)
    ) -> "ClientTls | None":
        """Begin TLS with `host` at `address` for a waiting machine.

        None if it failed and the machine was informed.  A session is resumed with the same address, port and server
        name alone, and never at another level or with other TLSA records.
        """
        ciphers, said_by = self._ciphers_for(host)
        config = (policy.demanded_by, policy.has_public_roots, ciphers)
        try:
            context = self._context(config, said_by)
        except _TlsFileError as trouble:
            client.tls_failed(b"TLS unable to load " + trouble.args[0])
            return None
        tlsa = digest_of(policy.tlsa) if policy.tlsa else b""
        key = (address, policy.names[:1] or host, policy.level, config, tlsa, policy.names)
        found = self._remembered.get(key)

        def remember(session: ssl.SSLSession) -> None:
            if key not in self._remembered and len(self._remembered) >= MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[key] = (config, session)

        return ClientTls(client, context, host, policy, found and found[1], remember)

    def _context(self, config: "Terms", said_by: str) -> ssl.SSLContext:
        """Return the TLS context for these settings.

        `said_by` is the file with the ciphers.  Fails: _TlsFileError.
        """
        authorities, has_public_roots, ciphers = config
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
        if has_public_roots:
            context.set_default_verify_paths()
            context.verify_mode = ssl.CERT_REQUIRED
        # Sessions belong to their context.
        self._remembered = {key: it for key, it in self._remembered.items() if it[0] != config}
        self._contexts[config] = (fingerprint, context)
        return context

    def _fingerprint(self, path: bytes) -> "Fingerprint":
        try:
            return fingerprint_of(os.stat(f"{self._home}/{os.fsdecode(path)}"))
        except OSError as error:
            raise _TlsFileError(path + b": " + _error_text(error)) from error


class ClientTls:
    """TLS on one connection, from the handshake on, for the machine `client`."""

    __slots__ = (
        "_client",
        "_host",
        "_incoming",
        "_is_accepted",
        "_is_up",
        "_outgoing",
        "_policy",
        "_remember",
        "_tls",
    )

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
        self._is_accepted = False
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        name = (policy.names[0] if policy.names else host).decode("latin-1").rstrip(".")
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
                if self._is_accepted and session is not None and session.has_ticket:
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
            by = self._policy.demanded_by or b"the authorities of the system"
            text = b"TLS unable to verify server with %b: %b" % (by, error.verify_message.encode())
            client.tls_failed(text, is_connected=True)
            return
        except ssl.SSLError as error:
            client.tls_failed(b"TLS connect failed: " + _error_text(error), is_broken=True)
            return
        self._is_up = True
        rejection_reason = self._rejection_reason()
        if rejection_reason:
            text = b"TLS unable to verify server %b: %b" % (self._host.rstrip(b"."), rejection_reason)
            client.tls_failed(text, is_connected=True)
        else:
            self._is_accepted = True
            client.tls_established()

    def _rejection_reason(self) -> bytes:
        """Return why the server has not proved to be the expected one; b"" if it has, or need not."""
        reason = b""
        if self._policy.demanded_by or self._policy.has_public_roots:
            reason = self._name_rejection_reason()
        # A resumed session has no certificates; only one that matched the same records is kept for these.
        if self._policy.tlsa and not reason and not self._tls.session_reused:
            reason = check_chain(self._policy.tlsa, self._chain(), self._policy.names, datetime.now(UTC))[1]
        return reason

    def _chain(self) -> list[bytes]:
        """Return the certificates that the server sent, unverified, its own first."""
        tls: Any = self._tls
        if hasattr(tls, "get_unverified_chain"):
            return [bytes(it) for it in tls.get_unverified_chain() or ()]
        # Python 3.12 and older have it in the inner object alone; 2 means DER.
        return [it.public_bytes(2) for it in tls._sslobj.get_unverified_chain() or ()]

    def _name_rejection_reason(self) -> bytes:
        """Return why the verified certificate names another server; b"" if it names this one."""
        certificate = self._tls.getpeercert()
        if not certificate:
            return b"no certificate provided"
        alternatives = [str(it[1]) for it in certificate.get("subjectAltName", ()) if it[0] == "DNS"]
        names = [str(it[1]) for part in certificate.get("subject", ()) for it in part if it[0] == "commonName"]
        # MTA-STS knows no commonName (RFC 8461 section 4.2).
        common_name = names[0] if names and not self._policy.has_public_roots else None
        return name_rejection_reason(self._host, alternatives, common_name)


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
