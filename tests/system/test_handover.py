"""qmail-smtpd hands its client over to the resident service, or serves it itself; the client cannot see which.

Source: docs/adr/0010.
"""

import os
import re
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.smtpd.test_sessions import read_all
from tests.integration.smtpd.test_tls import AUTHORITY, put_certificate
from tests.support.mail_system import MailSystem, make_maildir, messages, until

ME = "mail.example.org"
VARIABLES = {
    "PROTO": "TCP",
    "TCPREMOTEIP": "192.0.2.7",
    "TCPREMOTEHOST": "client.example.net",
    "TCPREMOTEINFO": "joe",
    "TCPLOCALIP": "192.0.2.1",
    "TCPLOCALHOST": "gate.example.org",
    "TCPLOCALPORT": "25",
}


class Client:
    """One client, and the program that a server started for it."""

    def __init__(self, mail_system: MailSystem, *checker: str, **environ: str) -> None:
        self._log: str | None = None
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.sock = socket.create_connection(listener.getsockname(), 30)
            theirs, _ = listener.accept()
        with theirs:
            self.program = subprocess.Popen(
                [mail_system.home / "bin/qmail-smtpd", *checker],
                stdin=theirs,
                stdout=theirs,
                stderr=subprocess.PIPE,
                env=VARIABLES | {"PATH": os.environ["PATH"]} | environ,
            )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()
        if self.program.poll() is None:
            self.program.kill()
        self.end()

    def greeted(self) -> "Client":
        """The client, after the greeting."""
        assert self.sock.recv(200).startswith(b"220 ")
        return self

    @property
    def is_handed_over(self) -> bool:
        """Whether the program, whose client has been greeted, is connected with the service."""
        folder = f"/proc/{self.program.pid}/fd"
        return any(int(fd) > 2 and os.readlink(f"{folder}/{fd}").startswith("socket:") for fd in os.listdir(folder))

    def ask(self, command: bytes) -> bytes:
        self.sock.sendall(command + b"\r\n")
        return self.sock.recv(1000)

    def end(self) -> tuple[int, str]:
        """The end of the program: its exit code and its log."""
        if self._log is None:
            self._log = self.program.communicate(timeout=60)[1].decode()
        return self.program.returncode, self._log


@pytest.fixture
def home(private_home: Path) -> Path:
    make_maildir(private_home / "alias/Maildir")
    (private_home / "alias/.qmail-box").write_text("./Maildir/\n")
    (private_home / "control/smtphandover").write_text("1\n")
    (private_home / "checker").write_text("#!/bin/sh\ntr '\\0' ' ' <&3 | grep -q '^joe good ' && exec \"$@\"\nexit 1\n")
    (private_home / "checker").chmod(0o755)
    return private_home


@pytest.fixture
def mail_system(home: Path) -> Iterator[MailSystem]:
    mail_system = MailSystem(home)
    yield mail_system
    mail_system.stop()


def smtpd_of(mail_system: MailSystem) -> int:
    return next(pid for pid, name in mail_system.services().items() if name == "qmail-smtpd")


def reported(text: str) -> str:
    """What must be the same: times, process ids and challenges may differ."""
    return re.sub(r"\d{5,}|\b\d+ invoked|qp \d+|\d+ \w{3} \d{4} [\d:]+", "N", text)


DIALOGUES = {
    "a message": (
        (),
        {},
        b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<box@mail.example.org>\r\nDATA\r\n"
        b"Subject: one\r\n\r\ntext\r\n.\r\nQUIT\r\n",
    ),
    "relaying": (
        (),
        {"RELAYCLIENT": "@mail.example.org", "DATABYTES": "1000"},
        b"EHLO c\r\nMAIL FROM:<a@b.example> SIZE=1001\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<box>\r\nDATA\r\n"
        b"Subject: two\r\n\r\ntext\r\n.\r\nQUIT\r\n",
    ),
    "no relaying": ((), {}, b"HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@elsewhere.example>\r\nQUIT\r\n"),
    "a password": (
        ("./checker", "true"),
        {"TCPLOCALPORT": "587"},
        b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nAUTH PLAIN AGpvZQBnb29k\r\nMAIL FROM:<a@b.example>\r\n"
        b"RCPT TO:<box@mail.example.org>\r\nDATA\r\nSubject: three\r\n\r\ntext\r\n.\r\nQUIT\r\n",
    ),
    "a checker on the path": (("true", "x"), {"TLSREQUIRED": "0"}, b"EHLO c\r\nAUTH PLAIN AGpvZQBnb29k\r\nQUIT\r\n"),
    "no password in clear": (
        ("./checker", "true"),
        {"TLSREQUIRED": "1"},
        b"EHLO c\r\nAUTH PLAIN AGpvZQBnb29k\r\nQUIT\r\n",
    ),
    "a plugin": (
        (),
        {"SPPCONFFILE": "plugins", "WORD": "of the program"},
        b"HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<box@mail.example.org>\r\nQUIT\r\n",
    ),
    "a bare newline": (
        (),
        {},
        b"HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<box@mail.example.org>\r\nDATA\r\nx\ny\r\n.\r\nQUIT\r\n",
    ),
    "hanging up": ((), {}, b"HELO c\r\nMAIL FROM:<a@b.example>\r\n"),
    "TLS at once, where there is none": ((), {"SMTPS": ""}, b""),
}


@pytest.mark.parametrize("name", DIALOGUES)
def test_the_handover_is_invisible_to_the_client(name: str, mail_system: MailSystem) -> None:
    (mail_system.home / "plugins").write_text('[mail]\n:echo "E550 $WORD, $TCPREMOTEINFO"\n')
    checker, environ, words = DIALOGUES[name]
    outcomes = []
    for extra in ({"NOHANDOVER": ""}, {}):
        before = set(messages(mail_system.home / "alias/Maildir"))
        with Client(mail_system, *checker, **environ, **extra) as client:
            if "SMTPS" not in environ:
                client.greeted()
                assert client.is_handed_over == (not extra)
            client.sock.sendall(words)
            client.sock.shutdown(socket.SHUT_WR)
            replies = reported(read_all(client.sock).decode())
            code, log = client.end()
        text = ""
        if "354 " in replies and "bare" not in name:
            until(lambda before=before: set(messages(mail_system.home / "alias/Maildir")) - before, "a message")  # type: ignore[misc]
            (text,) = set(messages(mail_system.home / "alias/Maildir")) - before
        outcomes.append((replies, reported(log), reported(text), code))
    assert outcomes[0] == outcomes[1]


def test_tls_works_in_a_client_that_was_handed_over(home: Path) -> None:
    put_certificate(home / "control/servercert.pem", ME)
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    mail_system = MailSystem(home)
    try:
        with Client(mail_system) as client:
            client.greeted()
            assert client.is_handed_over
            client.ask(b"EHLO c")
            assert client.ask(b"STARTTLS").startswith(b"220 ")
            with context.wrap_socket(client.sock, server_hostname=ME) as secure:
                secure.sendall(
                    b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<box@mail.example.org>\r\nDATA\r\n\r\n.\r\nQUIT\r\n"
                )
                assert b"221 " in read_all(secure)
            assert client.end()[0] == 0
        with Client(mail_system, SMTPS="") as client, context.wrap_socket(client.sock, server_hostname=ME) as secure:
            assert secure.recv(100).startswith(b"220 ")
            assert client.is_handed_over
            secure.sendall(b"QUIT\r\n")
            assert secure.recv(100).startswith(b"221 ")
            assert client.end()[0] == 0
        until(lambda: messages(home / "alias/Maildir"), "a message")
        assert "with ESMTPS (" in messages(home / "alias/Maildir")[0]
    finally:
        mail_system.stop()


def test_other_ciphers_are_served_by_the_program_itself(mail_system: MailSystem) -> None:
    with Client(mail_system, TLSCIPHERS="ECDHE-RSA-AES128-GCM-SHA256") as client:
        assert not client.greeted().is_handed_over


def test_a_client_on_pipes_is_not_handed_over(mail_system: MailSystem) -> None:
    ended = subprocess.run([mail_system.home / "bin/qmail-smtpd"], input=b"QUIT\r\n", capture_output=True, check=False)
    assert ended.stdout.startswith(b"220 mail.example.org")
    assert ended.returncode == 0


def test_a_service_that_listens_anyway_takes_clients_over_unasked(home: Path) -> None:
    (home / "control/smtphandover").unlink()
    mail_system = MailSystem(home)
    with Client(mail_system) as client:
        assert client.greeted().is_handed_over
    mail_system.stop()


def test_without_the_service_the_program_serves_its_client(home: Path) -> None:
    (home / "control/smtphandover").write_text("0\n")
    mail_system = MailSystem(home)
    with Client(mail_system) as client:
        assert not client.greeted().is_handed_over
        assert client.ask(b"QUIT").startswith(b"221 ")
        assert client.end() == (0, "")
    mail_system.stop()
    (home / "control/smtphandover").write_text("1\n")
    mail_system.start()
    mail_system.stop()
    assert (home / "run/smtp.sock").exists()
    with Client(mail_system) as client:
        assert not client.greeted().is_handed_over


def test_a_service_that_does_not_answer_is_not_waited_for_for_long(mail_system: MailSystem) -> None:
    smtpd = smtpd_of(mail_system)
    os.kill(smtpd, signal.SIGSTOP)
    try:
        with Client(mail_system) as client:
            assert not client.greeted().is_handed_over
            assert client.ask(b"QUIT").startswith(b"221 ")
            assert client.end()[0] == 0
    finally:
        os.kill(smtpd, signal.SIGCONT)
    with Client(mail_system) as client:
        assert client.greeted().is_handed_over


def test_where_the_service_has_no_room_the_program_serves_its_client(home: Path) -> None:
    (home / "control/smtpconcurrency").write_text("1\n")
    mail_system = MailSystem(home)
    try:
        with Client(mail_system) as first, Client(mail_system) as second:
            first.greeted()
            second.greeted()
            assert sorted((first.is_handed_over, second.is_handed_over)) == [False, True]
            with socket.create_connection(("127.0.0.1", mail_system.port), 30) as third:
                assert read_all(third) == b"421 too many connections (#4.3.2)\r\n"
    finally:
        mail_system.stop()


def test_clients_of_one_address_are_counted_together(home: Path) -> None:
    (home / "control/smtpperaddress").write_text("1\n")
    mail_system = MailSystem(home)
    try:
        with Client(mail_system, TCPREMOTEIP="127.0.0.1") as first, Client(mail_system) as other:
            assert first.greeted().is_handed_over
            assert other.greeted().is_handed_over
            with socket.create_connection(("127.0.0.1", mail_system.port), 30) as third:
                assert read_all(third) == b"421 too many connections from your address (#4.7.0)\r\n"
            with Client(mail_system, TCPREMOTEIP="127.0.0.1") as fourth:
                assert not fourth.greeted().is_handed_over
        until(mail_system.answers, "a free place")
    finally:
        mail_system.stop()


def test_ending_the_program_ends_the_session(mail_system: MailSystem) -> None:
    with Client(mail_system) as client:
        client.greeted()
        client.ask(b"MAIL FROM:<a@b>")
        client.program.terminate()
        assert read_all(client.sock) == b""
    assert mail_system.answers()


def test_a_service_that_dies_ends_the_session_and_the_program_reports_it(mail_system: MailSystem) -> None:
    with Client(mail_system) as client:
        assert client.greeted().is_handed_over
        os.kill(smtpd_of(mail_system), signal.SIGKILL)
        try:
            assert read_all(client.sock) == b""
        except ConnectionResetError:
            pass
        code, log = client.end()
        assert code == 1
        assert "the resident service went away" in log
    until(mail_system.answers, "the next service")
    with Client(mail_system) as client:
        assert client.greeted().is_handed_over


def test_a_stop_lets_a_message_end(home: Path) -> None:
    mail_system = MailSystem(home)
    with Client(mail_system) as client, Client(mail_system) as idle:
        client.greeted()
        idle.greeted()
        client.sock.sendall(b"MAIL FROM:<a@b>\r\nRCPT TO:<box@mail.example.org>\r\nDATA\r\n")
        until(lambda: b"354" in client.sock.recv(1000), "the go-ahead")
        assert mail_system.process is not None
        mail_system.process.terminate()
        assert read_all(idle.sock).startswith(b"421 ")
        assert idle.end()[0] == 0
        client.sock.sendall(b"Subject: last\r\n\r\n.\r\n")
        assert read_all(client.sock).startswith(b"250 ok")
        assert client.end()[0] == 0
        assert mail_system.process.wait(60) == 0


def test_no_file_and_no_descriptor_is_left_of_clients(mail_system: MailSystem) -> None:
    def held() -> int:
        return len(os.listdir(f"/proc/{smtpd_of(mail_system)}/fd"))

    with Client(mail_system) as client:
        client.greeted()
    until(lambda: mail_system.answers(), "an answer")
    before = held()
    for _ in range(5):
        with Client(mail_system) as client:
            client.greeted()
    until(lambda: held() <= before, "an end of all descriptors")
