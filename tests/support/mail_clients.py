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
from tests.support.mail_system import House, free_port, make_maildir, until

ME = "mail.example.org"
BOX = f"box@{ME}"
SENDER = "sender@example.net"
PASSWORD = "clear secret"
PATIENCE_S = 90.0
HELD_BACK_S = 0.2


class Way(NamedTuple):
    """How a message is sent: TLS (starttls, first or none), a method of AUTH or none, and an extension to be used."""

    tls: str = ""
    auth: str = ""
    uses: str = ""

    @property
    def user(self) -> str:
        """Who the client says it is: ann's secret is kept as it is, joe's is not, and so does not suit CRAM-MD5."""
        return "" if not self.auth else "ann" if self.auth == "CRAM-MD5" else "joe"

    @property
    def received(self) -> str:
        """What the Received line has to say of it."""
        return "ESMTP" + "S" * bool(self.tls) + "A" * bool(self.auth)


WAYS = {
    "plain": Way(),
    "STARTTLS": Way("starttls"),
    "TLS first": Way("first"),
    "PLAIN": Way("starttls", "PLAIN"),
    "LOGIN": Way("starttls", "LOGIN"),
    "CRAM-MD5": Way("", "CRAM-MD5"),
    "PIPELINING": Way(uses="PIPELINING"),
    "CHUNKING": Way(uses="CHUNKING"),
}


class ClientHouse(House):
    """Our services on three ports: for everybody, with TLS from the first byte, and for those who say who they are."""

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
        """As any house, with two ports more; one is the submission port."""
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

    def port_for(self, way: Way) -> int:
        """Where a client that goes this way has to connect."""
        return self.tls_port if way.tls == "first" else self.submission_port if way.auth else self.port


class Errand(NamedTuple):
    """One message to send: where to, which way, its subject, and a folder of the client's own."""

    port: int
    way: Way
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
        command, input=text, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
        env=os.environ | environ,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"


def swaks(errand: Errand) -> None:
    """swaks, which checks no certificate unless it is told to."""
    way = errand.way
    words = {"": [], "starttls": ["--tls"], "first": ["--tls-on-connect"]}[way.tls]
    if way.tls:
        words += ["--tls-verify", "--tls-ca-path", str(errand.authority)]
    if way.auth:
        words += ["--auth", way.auth, "--auth-user", way.user, "--auth-password", PASSWORD]
    if way.uses:
        words += ["--pipeline"]
    (errand.folder / "text").write_text(errand.text)
    words += ["--helo", "client.test", "--from", SENDER, "--to", BOX, "--data", f"@{errand.folder}/text"]
    run(["swaks", "--server", "127.0.0.1", "--port", str(errand.port), *words])


def curl(errand: Errand) -> None:
    """curl, whose libcurl many programs send mail with."""
    way = errand.way
    scheme = "smtps" if way.tls == "first" else "smtp"
    words = ["--ssl-reqd"] if way.tls == "starttls" else []
    if way.tls:
        words += ["--cacert", str(errand.authority)]
    if way.auth:
        words += ["--user", f"{way.user}:{PASSWORD}", "--login-options", f"AUTH={way.auth}"]
    words += ["--mail-from", SENDER, "--mail-rcpt", BOX, "--crlf", "--upload-file", "-"]
    run(["curl", "-sS", f"{scheme}://127.0.0.1:{errand.port}/client.test", *words], errand.text)


def msmtp(errand: Errand) -> None:
    """msmtp, a sendmail for those who have no mail system."""
    way = errand.way
    settings = {
        "host": "127.0.0.1",
        "port": errand.port,
        "from": SENDER,
        "domain": "client.test",
        "tls": "on" if way.tls else "off",
        "tls_starttls": "on" if way.tls == "starttls" else "off",
        "tls_trust_file": errand.authority,
        "auth": way.auth.lower() or "off",
    } | ({"user": way.user, "passwordeval": f"echo {PASSWORD}"} if way.auth else {})
    path = errand.folder / "msmtprc"
    path.write_text("account default\n" + "".join(f"{name} {value}\n" for name, value in settings.items()))
    path.chmod(0o600)
    run(["msmtp", "-C", str(path), "--", BOX], errand.text)


def mutt(errand: Errand) -> None:
    """mutt with the SMTP client that is built into it."""
    way = errand.way
    scheme, who = "smtps" if way.tls == "first" else "smtp", f"{way.user}@" if way.auth else ""
    settings = {
        "smtp_url": f"{scheme}://{who}127.0.0.1:{errand.port}/",
        "smtp_pass": PASSWORD,
        "smtp_authenticators": way.auth.lower(),
        "ssl_starttls": "yes" if way.tls else "no",
        "ssl_force_tls": "yes" if way.tls else "no",
        "ssl_ca_certificates_file": errand.authority,
        "certificate_file": errand.authority,
        "from": SENDER,
        "hostname": "client.test",
        "copy": "no",
    }
    path = errand.folder / "muttrc"
    path.write_text("".join(f'set {name}="{value}"\n' for name, value in settings.items()))
    body = errand.text.split("\n\n", 1)[1]
    run(["mutt", "-n", "-F", str(path), "-s", errand.subject, "--", BOX], body, HOME=str(errand.folder), TERM="dumb")


def python(errand: Errand) -> None:
    """Python's smtplib."""
    way = errand.way
    context = ssl.create_default_context()
    context.load_verify_locations(errand.authority)
    if way.tls == "first":
        client: smtplib.SMTP = smtplib.SMTP_SSL("127.0.0.1", errand.port, "client.test", context=context)
    else:
        client = smtplib.SMTP("127.0.0.1", errand.port, "client.test")
    with client:
        if way.tls == "starttls":
            client.starttls(context=context)
        client.ehlo()
        if way.auth:
            client.user, client.password = way.user, PASSWORD
            client.auth(way.auth, getattr(client, "auth_" + way.auth.lower().replace("-", "_")))
        client.sendmail(SENDER, [BOX], errand.text)


class Client(NamedTuple):
    """A client: its name and version in Debian 12, what sends with it, the ways that it has (names of WAYS).

    `hello`: SMTP for a client that says HELO unless it needs more.
    """

    name: str
    send: Callable[[Errand], None]
    ways: tuple[str, ...]
    hello: str = "ESMTP"

    def received(self, way: str) -> str:
        """What the Received line has to say when it went this way."""
        return self.hello if way == "plain" else WAYS[way].received


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


class Tap:
    """Stands between a client and our server and writes down what the client said before it had the next answer.

    Answers are held back for a moment, so that what a client says without waiting for them is heard in time.
    """

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._server = port
        self.heard: list[bytes] = [b""]
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
            _copy(client, server, self._hear)
            back.join()

    def _hear(self, data: bytes) -> None:
        self.heard[-1] += data

    def _answer(self, _data: bytes) -> None:
        time.sleep(HELD_BACK_S)
        self.heard.append(b"")

    def close(self) -> None:
        """The client has ended."""
        self._listener.close()
        self._thread.join(PATIENCE_S)

    def was_used(self, extension: str) -> bool:
        """Whether the client made use of PIPELINING or CHUNKING."""
        if extension == "CHUNKING":
            return any(b"BDAT " in piece for piece in self.heard)
        return any(b"RCPT TO" in piece and (b"MAIL FROM" in piece or b"\nDATA" in piece) for piece in self.heard)


def _copy(source: socket.socket, target: socket.socket, tell: Callable[[bytes], None]) -> None:
    try:
        while data := source.recv(65536):
            tell(data)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@contextmanager
def client_house(home: Path) -> Iterator[ClientHouse]:
    """A house for clients in a new home."""
    assert eqmail("--home", home, "setup", "--single-user").returncode == 0
    assert eqmail("--home", home, "config-fast", ME).returncode == 0
    house = ClientHouse(home)
    try:
        yield house
    finally:
        house.stop()


def table() -> str:
    """The clients and the ways that they went, as a table of Markdown."""
    rows = [["client", *WAYS], ["---"] * (len(WAYS) + 1)]
    rows += [
        [client.name, *(client.received(way) if way in client.ways else "-" for way in WAYS)]
        for client in CLIENTS.values()
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    print(table(), end="")
