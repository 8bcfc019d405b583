"""The ways to prove to an ACME server that a host name is ours, each a context in which the proof can be seen.

    http     a small server on a port, which the authority reaches as port 80 of the host (RFC 8555 8.3)
    webroot  a file below the folder of a web server that runs already
    alpn     a TLS server on a port, which the authority reaches as port 443 (RFC 8737)
    dns      a TXT record, written and removed by a program: HOOK add|remove NAME VALUE (RFC 8555 8.4)
    rfc2136  a TXT record, written and removed by updates to the name server of the zone (acme/dns_update.py)

Fails: EqmailError where the proof cannot be shown.
"""

import os
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier

from eqmail_setup.acme.dns_update import by_update
from eqmail_setup.acme.proof import Proof, record_name
from eqmail_setup.errors import EqmailError

WELL_KNOWN = "/.well-known/acme-challenge/"
ALPN = "acme-tls/1"
HOOK_TIMEOUT_S = 300
_ACME_IDENTIFIER = ObjectIdentifier("1.3.6.1.5.5.7.1.31")


@contextmanager
def over_http(port: str, proofs: list[Proof]) -> Iterator[None]:
    """Answer on a port of all addresses."""
    contents = {WELL_KNOWN + proof.token: proof.content.encode() for proof in proofs}

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            content = contents.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6
        daemon_threads = True

        def server_bind(self) -> None:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            super().server_bind()

    try:
        server: ThreadingHTTPServer = Server(("::", int(port)), Handler)
    except OSError:
        try:
            server = ThreadingHTTPServer(("", int(port)), Handler)
        except OSError as error:
            raise EqmailError(
                f"port {port}: {error.strerror}; with a web server there, use --webroot and its folder"
            ) from error
    with server, _served(server.serve_forever, server.shutdown):
        yield


@contextmanager
def in_webroot(folder: str, proofs: list[Proof]) -> Iterator[None]:
    """Write files below the folder of a web server, and remove them."""
    paths = [Path(folder + WELL_KNOWN + proof.token) for proof in proofs]
    try:
        for path, proof in zip(paths, proofs, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(proof.content)
            path.chmod(0o644)
    except OSError as error:
        raise EqmailError(f"{error.filename}: {error.strerror}") from error
    try:
        yield
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


@contextmanager
def over_alpn(port: str, proofs: list[Proof]) -> Iterator[None]:
    """Answer TLS with the protocol acme-tls/1 on a port, with a certificate that holds the digest."""
    contexts = {proof.name: _alpn_context(proof) for proof in proofs}
    outer = next(iter(contexts.values()))

    def choose(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        if name in contexts:
            connection.context = contexts[name]

    outer.sni_callback = choose
    try:
        listener = socket.create_server(("", int(port)))
    except OSError as error:
        raise EqmailError(f"port {port}: {error.strerror}") from error
    is_over = threading.Event()
    listener.settimeout(0.2)

    def serve() -> None:
        while not is_over.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                continue
            client.settimeout(10)
            try:
                outer.wrap_socket(client, server_side=True).close()
            except OSError:
                client.close()

    with listener, _served(serve, is_over.set):
        yield


@contextmanager
def by_hook(hook: str, proofs: list[Proof]) -> Iterator[None]:
    """Run a program that writes TXT records, and removes them."""
    done: list[Proof] = []
    try:
        for proof in proofs:
            _run_hook(hook, "add", proof)
            done.append(proof)
        yield
    finally:
        for proof in done:
            _run_hook(hook, "remove", proof)


def _run_hook(hook: str, verb: str, proof: Proof) -> None:
    name = record_name(proof.name)
    try:
        done = subprocess.run(
            [hook, verb, name, proof.record], capture_output=True, text=True, timeout=HOOK_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EqmailError(f"{hook}: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-300:]
        raise EqmailError(f"{hook} {verb} {name}: exit code {done.returncode}: {said}")


@contextmanager
def _served(serve: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(15)


def _alpn_context(proof: Proof) -> ssl.SSLContext:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, proof.name[:64])])
    extension = x509.UnrecognizedExtension(_ACME_IDENTIFIER, b"\x04\x20" + proof.digest)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(proof.name)]), critical=False)
        .add_extension(extension, critical=True)
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols([ALPN])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "pair.pem")
        pem = certificate.public_bytes(Encoding.PEM) + key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        Path(path).write_bytes(pem)
        context.load_cert_chain(path)
    return context


Shown = Callable[[list[Proof]], AbstractContextManager[None]]

CHALLENGES: dict[str, tuple[str, Callable[[str, list[Proof]], AbstractContextManager[None]]]] = {
    "http": ("http-01", over_http),
    "webroot": ("http-01", in_webroot),
    "alpn": ("tls-alpn-01", over_alpn),
    "dns": ("dns-01", by_hook),
    "rfc2136": ("dns-01", by_update),
}
"""The name of each challenge for an ACME server, and how its proof is shown, given its argument."""


def shown_by(challenge: str, argument: str) -> Shown:
    """Return the context of a challenge."""
    return partial(CHALLENGES[challenge][1], argument)
