"""SMTP servers on loopback with TLS, and certificates for them."""

import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.scripted_server import PIPELINING, Script, ScriptedServer

STARTTLS: Script = {"ehlo": "250-fake\n250-STARTTLS\n250 PIPELINING", "star": "220 go ahead"}
TLS_BEGINS = b"<TLS>"


def context_of(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """What a server with this certificate speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def write_self_signed(path: Path, common_name: str) -> ssl.SSLContext:
    """Make a certificate with a commonName alone, signed by itself; its PEM without key goes to `path`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    path.write_bytes(pem)
    whole = path.with_suffix(".whole")
    form = serialization.PrivateFormat.PKCS8
    whole.write_bytes(pem + key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(whole)
    return context


class TlsServer(ScriptedServer):
    """A scripted server that offers STARTTLS, or speaks TLS from the beginning when it is `implicit`.

    Without a context it answers the handshake with invalid bytes.  `received` has the mark TLS_BEGINS where TLS begins;
    `secured` are the sockets of those connections.
    """

    def __init__(
        self,
        context: ssl.SSLContext | None,
        *scripts: Script,
        host: str = "127.0.0.2",
        implicit: bool = False,
        port: int = 0,
    ) -> None:
        kind = PIPELINING if implicit else STARTTLS
        super().__init__(*(kind | script for script in scripts or ({},)), host=host, port=port)
        self.context = context
        self.implicit = implicit
        self.secured: list[ssl.SSLSocket] = []

    def _serve(self, client: socket.socket, number: int, script: Script) -> None:
        try:
            super()._serve(self.upgrade(client, number) if self.implicit else client, number, script)
        except OSError:
            pass

    def upgrade(self, client: socket.socket, number: int) -> socket.socket:
        """Begin TLS."""
        if self.context is None:
            client.recv(1)
            client.sendall(b"What do you mean?" * 10)
            client.shutdown(socket.SHUT_RDWR)
            raise OSError("no TLS here")
        secured = self.context.wrap_socket(client, server_side=True)
        self._open.append(secured)
        self.secured.append(secured)
        self.received[number] += TLS_BEGINS
        return secured
