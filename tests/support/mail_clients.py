"""Mail clients of other makers, and the ways in which each sends one message to our server.

`python -m tests.support.mail_clients` prints the table of docs/interop.md; the tests go every way of it.
"""

import os
import smtplib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.conftest import eqmail
from tests.integration.smtpd.test_tls import AUTHORITY, put_certificate
from tests.support.mail_system import MailSystem, free_port, make_maildir, until

ME = "mail.example.org"
BOX = f"box@{ME}"
SENDER = "sender@example.net"
PASSWORD = "clear secret"
TIMEOUT_S = 90.0
HELD_BACK_S = 0.2


class SendMethod(NamedTuple):
    """How a message is sent: TLS (starttls, first or none), a method of AUTH or none, and an extension to be used."""

    tls: str = ""
    auth: str = ""
    uses: str = ""

    @property
    def user(self) -> str:
        """The login of the client: ann has a clear-text secret; joe has a hash, which does not suit CRAM-MD5."""
        return "" if not self.auth else "ann" if self.auth == "CRAM-MD5" else "joe"

    @property
    def received(self) -> str:
        """What the Received line has to say of it."""
        return "ESMTP" + "S" * bool(self.tls) + "A" * bool(self.auth)


SEND_METHODS = {
    "plain": SendMethod(),
    "STARTTLS": SendMethod("starttls"),
    "TLS first": SendMethod("first"),
    "PLAIN": SendMethod("starttls", "PLAIN"),
    "LOGIN": SendMethod("starttls", "LOGIN"),
    "CRAM-MD5": SendMethod("", "CRAM-MD5"),
    "PIPELINING": SendMethod(uses="PIPELINING"),
    "CHUNKING": SendMethod(uses="CHUNKING"),
}


class ClientMailSystem(MailSystem):
    """Our services on three ports: SMTP, implicit TLS, and submission with a login."""

    def __init__(self, home: Path) -> None:
        self.authority = home / "authority.pem"
        AUTHORITY.cert_pem.write_to_path(str(self.authority))
        put_certificate(home / "control/servercert.pem", "127.0.0.1", "localhost")
        make_maildir(home / "alias/Maildir")
        (home / "alias/.qmail-box").write_text("./Maildir/\n")
        hashed = subprocess.run(
            [home / "bin/qmail-chkpw", "-r"], input=f"{PASSWORD}\n", capture_output=True, text=True, check=True
        ).stderr.strip()
        (home / "users/smtpauth").write_text(f"joe:{hashed}\nann:{PASSWORD}\n")
        (home / "control/smtpcheckpw").write_text(f"{home}/bin/qmail-chkpw /bin/true\n")
        (home / "control/chunking").write_text("1\n")
        super().__init__(home)

    def start(self) -> None:
        """As any mail system, with two more ports; one is the submission port."""
        self.tls_port, self.submission_port = free_port(), free_port()
        ports = f"127.0.0.1:{self.port}\ntls:127.0.0.1:{self.tls_port}\n127.0.0.1:{self.submission_port}\n"
        (self.home / "control/smtplisten").write_text(ports)
        environ = {"PATH": f"{self.home}/bin:/usr/bin:/bin", "HOME": str(self.home), "EQMAIL_HOME": str(self.home)}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [str(self.home / "bin/qmail-start"), *self.words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=environ | {"SUBMISSIONPORT": str(self.submission_port)},
            )  # fmt: skip
        until(self.answers, "an SMTP greeting")

    def port_for(self, method: SendMethod) -> int:
        """Where a client that goes this way has to connect."""
        return self.tls_port if method.tls == "first" else self.submission_port if method.auth else self.port


class SendJob(NamedTuple):
    """One message to send: where to, which way, its subject, and a folder of the client's own."""

    port: int
    method: SendMethod
    subject: str
    authority: Path
    folder: Path

    @property
    def text(self) -> str:
        """The message; a line of it looks like its end."""
        return f"From: {SENDER}\nTo: {BOX}\nSubject: {self.subject}\n\none\n.two\n..\nend\n"


def run(command: list[str], text: str = "", **environ: str) -> None:
    """Run a client that has to succeed."""
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
        env=os.environ | environ,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"


def swaks(job: SendJob) -> None:
    """swaks, which verifies no certificate by default."""
    method = job.method
    words = {"": [], "starttls": ["--tls"], "first": ["--tls-on-connect"]}[method.tls]
    if method.tls:
        words += ["--tls-verify", "--tls-ca-path", str(job.authority)]
    if method.auth:
        words += ["--auth", method.auth, "--auth-user", method.user, "--auth-password", PASSWORD]
    if method.uses:
        words += ["--pipeline"]
    (job.folder / "text").write_text(job.text)
    words += ["--helo", "client.test", "--from", SENDER, "--to", BOX, "--data", f"@{job.folder}/text"]
    run(["swaks", "--server", "127.0.0.1", "--port", str(job.port), *words])


def curl(job: SendJob) -> None:
    """curl, whose libcurl many programs send mail with."""
    method = job.method
    scheme = "smtps" if method.tls == "first" else "smtp"
    words = ["--ssl-reqd"] if method.tls == "starttls" else []
    if method.tls:
        words += ["--cacert", str(job.authority)]
    if method.auth:
        words += ["--user", f"{method.user}:{PASSWORD}", "--login-options", f"AUTH={method.auth}"]
    words += ["--mail-from", SENDER, "--mail-rcpt", BOX, "--crlf", "--upload-file", "-"]
    run(["curl", "-sS", f"{scheme}://127.0.0.1:{job.port}/client.test", *words], job.text)


def msmtp(job: SendJob) -> None:
    """msmtp, a sendmail for those who have no mail system."""
    method = job.method
    settings = {
        "host": "127.0.0.1",
        "port": job.port,
        "from": SENDER,
        "domain": "client.test",
        "tls": "on" if method.tls else "off",
        "tls_starttls": "on" if method.tls == "starttls" else "off",
        "tls_trust_file": job.authority,
        "auth": method.auth.lower() or "off",
    } | ({"user": method.user, "passwordeval": f"echo {PASSWORD}"} if method.auth else {})
    path = job.folder / "msmtprc"
    path.write_text("account default\n" + "".join(f"{name} {value}\n" for name, value in settings.items()))
    path.chmod(0o600)
    run(["msmtp", "-C", str(path), "--", BOX], job.text)


def mutt(job: SendJob) -> None:
    """mutt with the SMTP client that is built into it."""
    method = job.method
    scheme, who = "smtps" if method.tls == "first" else "smtp", f"{method.user}@" if method.auth else ""
    settings = {
        "smtp_url": f"{scheme}://{who}127.0.0.1:{job.port}/",
        "smtp_pass": PASSWORD,
        "smtp_authenticators": method.auth.lower(),
        "ssl_starttls": "yes" if method.tls else "no",
        "ssl_force_tls": "yes" if method.tls else "no",
        "ssl_ca_certificates_file": job.authority,
        "certificate_file": job.authority,
        "from": SENDER,
        "hostname": "client.test",
        "copy": "no",
    }
    path = job.folder / "muttrc"
    path.write_text("".join(f'set {name}="{value}"\n' for name, value in settings.items()))
    body = job.text.split("\n\n", 1)[1]
    run(["mutt", "-n", "-F", str(path), "-s", job.subject, "--", BOX], body, HOME=str(job.folder), TERM="dumb")


def python(job: SendJob) -> None:
    """Python's smtplib."""
    method = job.method
    context = ssl.create_default_context()
    context.load_verify_locations(job.authority)
    if method.tls == "first":
        client: smtplib.SMTP = smtplib.SMTP_SSL("127.0.0.1", job.port, "client.test", context=context)
    else:
        client = smtplib.SMTP("127.0.0.1", job.port, "client.test")
    with client:
        if method.tls == "starttls":
            client.starttls(context=context)
        client.ehlo()
        if method.auth:
            client.user, client.password = method.user, PASSWORD
            client.auth(method.auth, getattr(client, "auth_" + method.auth.lower().replace("-", "_")))
        client.sendmail(SENDER, [BOX], job.text)


class Client(NamedTuple):
    """A client: its name and version in Debian 12, what sends with it, the ways that it has (names of WAYS).

    `hello`: SMTP for a client that sends HELO unless it needs extensions.
    """

    name: str
    send: Callable[[SendJob], None]
    ways: tuple[str, ...]
    hello: str = "ESMTP"

    def received(self, method: str) -> str:
        """What the Received line has to say when it went this way."""
        return self.hello if method == "plain" else SEND_METHODS[method].received


_NO_EXTRAS = ("plain", "STARTTLS", "TLS first", "PLAIN", "LOGIN", "CRAM-MD5")

CLIENTS = {
    client.name.split()[0]: client
    for client in (
        Client("swaks 20201014", swaks, (*_NO_EXTRAS, "PIPELINING")),
        Client("curl 7.88", curl, _NO_EXTRAS),
        Client("msmtp 1.8", msmtp, (*_NO_EXTRAS, "PIPELINING")),
        Client("mutt 2.2", mutt, _NO_EXTRAS, hello="SMTP"),
        Client("smtplib 3.11", python, _NO_EXTRAS),
    )
}


class RecordingProxy:
    """A proxy between a client and our server that records what the client sent before each reply.

    Replies are delayed for a moment, so that pipelined commands are recorded before them.
    """

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._server = port
        self.client_data: list[bytes] = [b""]
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def _carry(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        with client, socket.create_connection(("127.0.0.1", self._server)) as server:
            back = threading.Thread(target=_copy, args=(server, client, self._answer))
            back.start()
            _copy(client, server, self._receive)
            back.join()

    def _receive(self, data: bytes) -> None:
        self.client_data[-1] += data

    def _answer(self, _data: bytes) -> None:
        time.sleep(HELD_BACK_S)
        self.client_data.append(b"")

    def close(self) -> None:
        """The client has ended."""
        self._listener.close()
        self._thread.join(TIMEOUT_S)

    def was_used(self, extension: str) -> bool:
        """Whether the client made use of PIPELINING or CHUNKING."""
        if extension == "CHUNKING":
            return any(b"BDAT " in piece for piece in self.client_data)
        return any(b"RCPT TO" in piece and (b"MAIL FROM" in piece or b"\nDATA" in piece) for piece in self.client_data)


def _copy(source: socket.socket, target: socket.socket, tell: Callable[[bytes], None]) -> None:
    try:
        while data := source.recv(65536):
            tell(data)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@contextmanager
def client_mail_system(home: Path) -> Iterator[ClientMailSystem]:
    """A mail system for clients in a new home."""
    assert eqmail("--home", home, "setup", "--single-user").returncode == 0
    assert eqmail("--home", home, "config-fast", ME).returncode == 0
    mail_system = ClientMailSystem(home)
    try:
        yield mail_system
    finally:
        mail_system.stop()


def table() -> str:
    """The clients and the ways that they went, as a table of Markdown."""
    rows = [["client", *SEND_METHODS], ["---"] * (len(SEND_METHODS) + 1)]
    rows += [
        [client.name, *(client.received(method) if method in client.ways else "-" for method in SEND_METHODS)]
        for client in CLIENTS.values()
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    print(table(), end="")
