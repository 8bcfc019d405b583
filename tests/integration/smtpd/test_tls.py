"""TLS in the SMTP server, on both drivers, with certificates of an authority made for the test."""

import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme

from eqmail_core.smtpd.policy import authentication as login
from eqmail_core.smtpd.server.config_reader import read_tls
from tests.support.scripted_milter import ScriptedMilter
from tests.support.smtp_servers import Home, Resident, blocking_server

AUTHORITY = trustme.CA()
CLIENTS = trustme.CA()
TRANSACTION = "MAIL FROM:<a@b>", "RCPT TO:<j@ours.test>", "DATA"


def put_certificate(path: Path, *names: str) -> None:
    """Write chain and key as one file, the way the server wants them."""
    issued = AUTHORITY.issue_cert(*names)
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".new").write_bytes(
        b"".join(blob.bytes() for blob in (*issued.cert_chain_pems, issued.private_key_pem))
    )
    path.with_suffix(".new").rename(path)


class Client:
    """Speaks SMTP line by line, and TLS on request."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def reply(self) -> str:
        """One reply, all its lines."""
        text = b""
        while not text.endswith(b"\r\n") or text.split(b"\r\n")[-2][3:4] != b" ":
            data = self.sock.recv(1)
            assert data, text
            text += data
        return text.decode()

    def say(self, *lines: str) -> str:
        """Say lines one by one; the last reply."""
        received = ""
        for line in lines:
            self.sock.sendall(line.encode("latin-1") + b"\r\n")
            received = self.reply()
        return received

    def secure(self, name: str = "mx.test", certificate: trustme.LeafCert | None = None, **options: object) -> None:
        """The client's part of a handshake, which trusts the authority."""
        context = ssl.create_default_context()
        AUTHORITY.configure_trust(context)
        for option, value in options.items():
            setattr(context, option, value)
        if certificate is not None:
            certificate.configure_cert(context)
        self.sock = context.wrap_socket(self.sock, server_hostname=name, do_handshake_on_connect=False)
        self.tls.do_handshake()

    def start_tls(self, name: str = "mx.test", certificate: trustme.LeafCert | None = None) -> None:
        """STARTTLS after EHLO."""
        assert "250-STARTTLS\r\n" in self.say("EHLO c.test")
        assert self.say("STARTTLS") == "220 ready for tls\r\n"
        self.secure(name, certificate)

    @property
    def tls(self) -> ssl.SSLSocket:
        assert isinstance(self.sock, ssl.SSLSocket)
        return self.sock


Connect = Callable[..., Client]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home", smtpcheckpw="bin/checker /bin/true\n")
    put_certificate(Path(home.site.control) / "servercert.pem", "mx.test")
    return home


def opened(stack: ExitStack, sock: socket.socket) -> Client:
    """A client whose socket, which TLS replaces, is closed at the end."""
    client = Client(sock)
    stack.callback(lambda: client.sock.close())
    return client


@contextmanager
def waiting(home: Home, **environ: str) -> Iterator[Connect]:
    with ExitStack() as stack:
        yield lambda: opened(stack, stack.enter_context(blocking_server(home, **environ))[0])


@contextmanager
def resident(home: Home, **environ: str) -> Iterator[Connect]:
    with Resident(home, **environ, QMAILQUEUE=f"{home.site.bin}/qmail-queue") as server, ExitStack() as stack:
        yield lambda: opened(stack, server.connect())


@pytest.fixture(params=[waiting, resident], ids=["waiting", "resident"])
def serve(request: pytest.FixtureRequest) -> Callable[..., "ExitStack"]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "FAILED_AUTH_PAUSE_S", 0.0)


def test_a_message_under_tls_has_esmtps_in_received(home: Home, serve: Callable[..., object]) -> None:
    with serve(home) as connect:  # type: ignore[attr-defined]
        client = connect()
        client.reply()
        client.start_tls()
        cipher, version = client.tls.cipher(), client.tls.version()
        assert cipher is not None
        assert "STARTTLS" not in client.say("EHLO c.test")
        client.say(*TRANSACTION)
        assert client.say("Subject: t\r\n\r\n..\r\n.").startswith("250 ok ")
        assert client.say("STARTTLS") == "502 unimplemented (#5.5.1)\r\n"
        assert client.say("QUIT") == "221 mx.test\r\n"
        assert client.tls.recv(10) == b""
    ((_, message),) = [it for it in home.queued() if it[0]]
    assert f" with ESMTPS ({cipher[0]} encrypted) ({version}); ".encode() in message.split(b"\n")[1]
    assert message.endswith(b"Subject: t\n\n.\n")


def test_a_long_message_survives_tls(home: Home, serve: Callable[..., object]) -> None:
    text = "".join(f"{number} {'x' * 70}\r\n" for number in range(8000))
    with serve(home) as connect:  # type: ignore[attr-defined]
        client = connect()
        client.reply()
        client.start_tls()
        client.say(*TRANSACTION)
        assert client.say(text + ".").startswith("250 ok ")
        client.say("QUIT")
    ((_, message),) = [it for it in home.queued() if it[0]]
    assert message.endswith(text.replace("\r\n", "\n").encode())


def test_authenticated_mail_under_tls_has_esmtpsa_in_received(home: Home, serve: Callable[..., object]) -> None:
    with serve(home, TLSREQUIRED="1") as connect:  # type: ignore[attr-defined]
        client = connect()
        client.reply()
        assert client.say("AUTH PLAIN AGpvZQBnb29k").startswith("538 ")
        client.start_tls()
        assert client.say("EHLO c", "AUTH PLAIN AGpvZQBnb29k").startswith("235 ")
        client.say(*TRANSACTION, ".")
    ((_, message),) = [it for it in home.queued() if it[0]]
    assert b"(joe@" in message
    assert b" with ESMTPSA (" in message


def test_plain_text_state_is_forgotten_after_starttls(home: Home, serve: Callable[..., object]) -> None:
    with serve(home) as connect:  # type: ignore[attr-defined]
        client = connect()
        client.reply()
        client.say("EHLO liar.test", "AUTH PLAIN AGpvZQBnb29k", "MAIL FROM:<a@b>", "RCPT TO:<x@foreign>")
        client.start_tls()
        assert client.say("DATA").startswith("503 MAIL first")
        assert client.say("MAIL FROM:<a@b>", "RCPT TO:<x@foreign>") == (
            "553 sorry, that domain isn't in my list of allowed rcpthosts; no valid cert for gatewaying (#5.7.1)\r\n"
        )
        client.say(*TRANSACTION, ".")
    ((_, message),) = [it for it in home.queued() if it[0]]
    assert b"liar" not in message
    assert b"joe" not in message
    assert b" with ESMTPS (" in message


def test_commands_pipelined_after_starttls_end_the_session(home: Home, serve: Callable[..., object]) -> None:
    with serve(home) as connect:  # type: ignore[attr-defined]
        client = connect()
        client.reply()
        client.sock.sendall(b"STARTTLS\r\nRSET\r\n")
        assert client.reply() == "554 nothing may follow STARTTLS (#5.5.1)\r\n"
        assert client.sock.recv(10) == b""


def test_plain_text_instead_of_a_handshake_ends_the_session(home: Home, serve: Callable[..., object]) -> None:
    with serve(home) as connect:  # type: ignore[attr-defined]
        client = connect()
        client.reply()
        assert client.say("STARTTLS") == "220 ready for tls\r\n"
        client.sock.sendall(b"MAIL FROM:<a@b>\r\nRCPT TO:<j@ours.test>\r\n")
        text = b""
        while data := client.sock.recv(1000):
            text += data
        assert b"454 TLS connection failed: " in text
        assert text.endswith(b" (#4.3.0)\r\n")
        assert b"250" not in text


def test_tls_can_come_before_the_greeting(home: Home, serve: Callable[..., object]) -> None:
    with serve(home, SMTPS="") as connect:  # type: ignore[attr-defined]
        client = connect()
        client.secure()
        assert client.reply() == "220 mx.test ESMTP\r\n"
        assert "STARTTLS" not in client.say("EHLO c")
        client.say(*TRANSACTION, ".")
    assert b" with ESMTPS (" in next(message for envelope, message in home.queued() if envelope)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(home: Home, serve: Callable[..., object], version: ssl.TLSVersion) -> None:
    with serve(home, SMTPS="") as connect:  # type: ignore[attr-defined]
        client = connect()
        client.secure(maximum_version=version, minimum_version=version)
        assert client.reply().startswith("220 ")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_older_tls_is_not_spoken(home: Home, serve: Callable[..., object]) -> None:
    with serve(home, SMTPS="") as connect:  # type: ignore[attr-defined]
        client = connect()
        with pytest.raises((ssl.SSLError, ConnectionError)):
            client.secure(minimum_version=ssl.TLSVersion.TLSv1_1, maximum_version=ssl.TLSVersion.TLSv1_1)


def test_without_a_certificate_there_is_no_tls(home: Home, serve: Callable[..., object]) -> None:
    (Path(home.site.control) / "servercert.pem").unlink()
    with serve(home) as connect:  # type: ignore[attr-defined]
        client = connect()
        client.reply()
        assert "STARTTLS" not in client.say("EHLO c")
        assert client.say("STARTTLS") == "454 TLS missing certificate (#4.3.0)\r\n"
        assert client.say("NOOP") == "250 ok\r\n"


def test_an_invalid_certificate_is_logged_and_the_session_goes_on(home: Home, serve: Callable[..., object]) -> None:
    home.write("servercert.pem", "nonsense\n")
    with serve(home) as connect:  # type: ignore[attr-defined]
        client = connect()
        client.reply()
        assert client.say("STARTTLS").startswith("454 TLS missing certificate: ")
        assert client.say("NOOP") == "250 ok\r\n"


def test_unknown_ciphers_are_logged_and_mail_is_still_received(home: Home, serve: Callable[..., object]) -> None:
    home.write("tlsserverciphers", "NONSENSE\n")
    with serve(home) as connect:  # type: ignore[attr-defined]
        client = connect()
        client.reply()
        assert client.say("STARTTLS") == "454 TLS unable to initialize ssl: No cipher can be selected (#4.3.0)\r\n"
        assert client.say("NOOP") == "250 ok\r\n"


def test_ciphers_can_be_chosen(home: Home, serve: Callable[..., object]) -> None:
    home.write("tlsserverciphers", "# only this\nECDHE-ECDSA-AES128-GCM-SHA256\nECDHE-RSA-AES128-GCM-SHA256\n")
    with serve(home, SMTPS="") as connect:  # type: ignore[attr-defined]
        client = connect()
        client.secure(maximum_version=ssl.TLSVersion.TLSv1_2)
        cipher = client.tls.cipher()
        assert cipher is not None
        assert cipher[0].endswith("AES128-GCM-SHA256")


def test_a_client_sees_the_certificate_for_the_name_it_asks_for(home: Home, serve: Callable[..., object]) -> None:
    put_certificate(Path(home.site.control) / "tlscerts" / "mail.other.test.pem", "mail.other.test")
    with serve(home, SMTPS="") as connect:  # type: ignore[attr-defined]
        for name in ("mail.other.test", "mx.test"):
            client = connect()
            client.secure(name)
            assert client.reply().startswith("220 ")
        with pytest.raises(ssl.SSLCertVerificationError):
            connect().secure("third.test")


def test_a_broken_certificate_of_a_name_is_logged_once_and_the_default_is_used(home: Home) -> None:
    path = Path(home.site.control) / "tlscerts" / "mail.other.test.pem"
    path.parent.mkdir()
    with Resident(home, SMTPS="") as server, ExitStack() as stack:
        for content in ("half a certifi", "half a certificate"):
            path.write_text(content)
            for _ in range(3):
                client = opened(stack, server.connect())
                with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
                    client.secure("mail.other.test")
            client = opened(stack, server.connect())
            client.secure()
            assert client.reply().startswith("220 ")
        assert [line.startswith(b"no certificate for mail.other.test: ") for line in server.complaints] == [True, True]
        put_certificate(path, "mail.other.test")
        client = opened(stack, server.connect())
        client.secure("mail.other.test")
        assert client.reply().startswith("220 ")


def serial(client: Client) -> object:
    certificate = client.tls.getpeercert()
    assert certificate is not None
    return certificate["serialNumber"]


def test_a_new_certificate_counts_at_once_and_a_broken_one_never(home: Home) -> None:
    path = Path(home.site.control) / "servercert.pem"
    with Resident(home, SMTPS="") as server, ExitStack() as stack:

        def seen() -> object:
            client = opened(stack, server.connect())
            client.secure()
            client.reply()
            return serial(client)

        first = seen()
        assert seen() == first
        put_certificate(path, "mx.test")
        second = seen()
        assert second != first
        path.write_text("half a certifi")
        assert seen() == second
        assert server.complaints
        assert server.complaints[0].startswith(b"the certificates in use stay: missing certificate: ")
        assert len(server.complaints) == 1


def test_an_open_session_outlives_its_certificate(home: Home) -> None:
    path = Path(home.site.control) / "servercert.pem"
    with Resident(home, SMTPS="") as server, ExitStack() as stack:
        first = opened(stack, server.connect())
        first.secure()
        first.reply()
        put_certificate(path, "mx.test")
        second = opened(stack, server.connect())
        second.secure()
        second.reply()
        assert serial(second) != serial(first)
        for client in (first, second):
            assert client.say("EHLO me.test", "MAIL FROM:<joe@a.test>")[:3] == "250"
            assert "PIPELINING" in client.say("EHLO me.test")


class TestClientCertificates:
    """Relaying by certificate."""

    @pytest.fixture(autouse=True)
    def trust(self, home: Home) -> None:
        home.write("tlsclients", "Joe@client.test\n")
        CLIENTS.cert_pem.write_to_path(os.path.join(home.site.control, "clientca.pem"))

    @pytest.mark.parametrize(
        ("identity", "reply"),
        [
            ("joe@client.test", "250 ok"),
            ("sue@client.test", "email address not in my list of tlsclients (#5.7.1)"),
            ("host.client.test", "gatewaying: contains no email address (#5.7.1)"),
            (None, "rcpthosts; no valid cert for gatewaying (#5.7.1)"),
        ],
    )
    def test_the_address_in_it_decides(
        self, home: Home, serve: Callable[..., object], identity: str | None, reply: str
    ) -> None:
        certificate = CLIENTS.issue_cert(identity) if identity else None
        with serve(home) as connect:  # type: ignore[attr-defined]
            client = connect()
            client.reply()
            client.start_tls(certificate=certificate)
            assert client.say("EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<x@foreign>").rstrip().endswith(reply)
            client.say("RCPT TO:<j@ours.test>", "DATA", ".")
        ((envelope, message),) = [it for it in home.queued() if it[0]]
        assert (b"Tx@foreign\0" in envelope) == (reply == "250 ok")
        assert (b"\n  (cert joe@client.test); " in message) == (reply == "250 ok")

    def test_milters_get_the_tls_macros(self, home: Home, serve: Callable[..., object]) -> None:
        with ScriptedMilter() as milter:
            home.write("milters", f"{milter.address}\n")
            with serve(home) as connect:  # type: ignore[attr-defined]
                client = connect()
                client.reply()
                client.start_tls(certificate=CLIENTS.issue_cert("joe@client.test", common_name="Joe"))
                client.say("EHLO c", "MAIL FROM:<a@b>")
                cipher, version = client.tls.cipher(), client.tls.version()
            words = [payload[1:].split(b"\0") for payload in milter.payloads(b"D") if payload.startswith(b"H")][-1]
        reported = dict(zip(words[::2], words[1::2], strict=False))
        assert cipher is not None and version is not None
        assert reported[b"{tls_version}"] == version.encode()
        assert (reported[b"{cipher}"], reported[b"{cipher_bits}"]) == (cipher[0].encode(), b"%d" % cipher[2])
        assert reported[b"{verify}"] == b"OK"
        assert b"/CN=Joe" in reported[b"{cert_subject}"]
        assert reported[b"{cert_issuer}"].startswith(b"/O=trustme")

    def test_a_certificate_of_an_unknown_authority_ends_the_session(
        self, home: Home, serve: Callable[..., object]
    ) -> None:
        other_authority = trustme.CA().issue_cert("joe@client.test")
        with serve(home, SMTPS="") as connect:  # type: ignore[attr-defined]
            client = connect()
            with pytest.raises((ssl.SSLError, ConnectionError)):
                client.secure(certificate=other_authority)
                client.reply()


def test_an_unreadable_certificate_is_logged(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    path = os.path.join(home.site.control, "servercert.pem")
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    complaints: list[bytes] = []
    assert read_tls(home.site, home.controls(), complaints.append) is None
    assert complaints == [b"no TLS: unable to read " + os.fsencode(path)]
    os.unlink(path)
    assert read_tls(home.site, home.controls(), complaints.append) is None
    assert len(complaints) == 1
