"""The resident SMTP service as a process: signals, settings, and the way to the queue service."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_core.ipc import submission_protocol as wire
from eqmail_core.ipc.packet_socket import listen_at, receive_packet, send_packet
from eqmail_core.site.site_file import render_site
from eqmail_core.smtpd.server import service as smtp
from eqmail_core.smtpd.server.service_settings import read_settings
from tests.integration.smtpd.test_sessions import until
from tests.integration.smtpd.test_tls import put_certificate
from tests.support.smtp_servers import Home

ROOT = Path(__file__).parents[3]
_RUN = """
import sys
sys.path.insert(0, {root!r})
from eqmail_core.smtpd.server import service as smtp
from eqmail_core.smtpd.server.listener import SmtpListener
from eqmail_core.system.installation import read_site
smtp.run(read_site({{b"EQMAIL_HOME": {home!r}.encode()}}), [SmtpListener(fileno={fd})])
"""


class Service:
    """The process, its port, and the socket where the queue service would listen."""

    def __init__(self, home: Home) -> None:
        self.home = home
        (Path(home.site.home) / "site").write_bytes(render_site(home.site))
        self.queue = listen_at(home.site.socket("queue"), 0o600)
        self.queue.settimeout(60)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        environ = {key: value for key, value in os.environ.items() if key != "QMAILQUEUE"}
        code = _RUN.format(root=str(ROOT), home=home.site.home, fd=listener.fileno())
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], pass_fds=[listener.fileno()], stderr=subprocess.PIPE, env=environ
        )
        listener.close()

    def connect(self) -> socket.socket:
        """A client that has been greeted."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        assert client.recv(200).startswith(b"220 ")
        return client

    def end(self) -> tuple[int, str]:
        """TERM; exit code and log."""
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=60)
        return self.process.returncode, log.decode()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(Home(tmp_path / "home"))
    yield service
    service.queue.close()
    if service.process.poll() is None:
        service.process.kill()
    if service.process.stderr is not None:
        service.process.stderr.close()
    service.process.wait()


def test_mail_goes_to_the_queue_service(service: Service) -> None:
    with service.connect() as client:
        client.sendall(b"EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<j@ours.test>\r\nDATA\r\nSubject: t\r\n\r\nx\r\n.\r\n")
        link, _ = service.queue.accept()
        with link:
            packet, _ = receive_packet(link)
            tag, envelope, message = wire.split_whole(packet)
            assert envelope == b"Fa@b\0Tj@ours.test\0\0"
            assert bytes(message).endswith(b"+0000\nSubject: t\n\nx\n")
            assert b"by mx.test with ESMTP; " in bytes(message)
            send_packet(link, wire.result(tag, 0, 5, 1234567890, 77))
            received = b""
            while b" qp " not in received:
                received += client.recv(1000)
            assert received.endswith(b"250 ok 1234567890 qp 77\r\n")
    code, log = service.end()
    assert code == 0
    assert "qmail-smtpd: message accepted: a@b from 127.0.0.1 to j@ours.test helo me\n" in log


def test_without_the_queue_service_mail_is_refused_for_now(service: Service) -> None:
    os.unlink(service.home.site.socket("queue"))
    with service.connect() as client:
        client.sendall(b"MAIL FROM:<a@b>\r\nRCPT TO:<j@ours.test>\r\nDATA\r\n.\r\nQUIT\r\n")
        received = b""
        while data := client.recv(1000):
            received += data
    assert b"451 mail server temporarily rejected message (#4.3.0)" in received


def test_hup_makes_new_settings_count_for_new_clients(service: Service) -> None:
    with service.connect() as old:
        service.home.write("smtpgreeting", "renewed.test hello\n")
        service.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        greeting = b""
        while not greeting.startswith(b"220 renewed.test hello ESMTP"):
            assert time.monotonic() < deadline
            with socket.create_connection(("127.0.0.1", service.port), timeout=60) as client:
                greeting = client.recv(200)
        old.sendall(b"QUIT\r\n")
        assert old.recv(200) == b"221 mx.test\r\n"


def test_settings_that_cannot_be_read_leave_the_old_ones(service: Service) -> None:
    with service.connect():
        rcpthosts = Path(service.home.site.control) / "rcpthosts"
        rcpthosts.unlink()
        rcpthosts.mkdir()
        service.process.send_signal(signal.SIGHUP)
        with service.connect() as client:
            client.sendall(b"MAIL FROM:<a@b>\r\nRCPT TO:<x@foreign>\r\n")
            received = b""
            while b"553" not in received:
                received += client.recv(1000)
    code, log = service.end()
    assert code == 0
    assert "smtpd: alert: unable to reread controls" in log


def test_term_disconnects_idle_clients_at_once(service: Service) -> None:
    with service.connect() as client:
        service.process.send_signal(signal.SIGTERM)
        assert client.recv(200) == b"421 shutting down (#4.3.2)\r\n"
        assert service.process.wait(timeout=60) == 0
    assert "running sessions are cut off" not in service.end()[1]


def test_without_a_name_it_does_not_start(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    (Path(home.site.control) / "me").unlink()
    service = Service(home)
    _, log = service.process.communicate(timeout=60)
    service.queue.close()
    assert service.process.returncode == 111
    assert log.startswith(b"smtpd: fatal: ")


@pytest.mark.slow
def test_a_first_clear_text_secret_applies_without_reload(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.write("smtpcheckpw", "bin/qmail-chkpw /bin/true\n")
    secrets = Path(home.site.users) / "smtpauth"
    secrets.parent.mkdir(exist_ok=True)
    secrets.write_text("joe:$y$j9T$salt$hash\n")
    service = Service(home)

    def methods() -> bytes:
        with service.connect() as client:
            client.sendall(b"EHLO c\r\n")
            return client.recv(400).partition(b"AUTH ")[2]

    try:
        assert methods() == b"LOGIN PLAIN\r\n"
        secrets.write_text("joe:$y$j9T$salt$hash\nann:clear\n")
        until(lambda: methods() == b"LOGIN PLAIN CRAM-MD5\r\n")
        secrets.write_text("joe:$y$j9T$salt$hash\n")
        until(lambda: methods() == b"LOGIN PLAIN\r\n")
        assert service.end()[0] == 0
    finally:
        service.queue.close()
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait()


@pytest.mark.slow
def test_a_first_certificate_applies_without_reload(service: Service) -> None:
    def offers_tls() -> bool:
        with service.connect() as client:
            client.sendall(b"EHLO c\r\n")
            return b"STARTTLS" in client.recv(400)

    path = Path(service.home.site.control) / "servercert.pem"
    assert not offers_tls()
    path.write_text("half of it")
    time.sleep(1.5)
    assert not offers_tls()
    put_certificate(path, "mx.test")
    until(offers_tls)
    assert service.end()[1].count("smtpd: warning: no TLS: ") == 1


@pytest.mark.parametrize(
    ("certificate", "variable", "hidden"),
    [(True, None, True), (True, b"0", False), (True, b"1", True), (False, None, False), (False, b"1", True)],
)
def test_clear_text_passwords_only_without_tls_or_by_setting(
    tmp_path: Path, certificate: bool, variable: bytes | None, hidden: bool
) -> None:
    home = Home(tmp_path / "home", smtpcheckpw="/bin/true\n")
    if certificate:
        put_certificate(Path(home.site.control) / "servercert.pem", "mx.test")
    environ = {} if variable is None else {b"TLSREQUIRED": variable}
    settings = read_settings(home.site, environ, [25], lambda what: None)
    assert settings.policies[25].rules.auth_needs_tls == hidden


def test_foreign_code_is_loaded_after_privileges_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home", smtpchecks="doorman\n")
    done: list[str] = []

    def settle(site: object, role: str) -> None:
        done.append("settle")

    def load(entries: object) -> None:
        done.append("load")
        raise OSError("enough")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(smtp, "begin_service", settle)
    monkeypatch.setattr(smtp, "load_checks", load)
    with pytest.raises(SystemExit):
        smtp.run(home.site, [])
    assert done == ["settle", "load"]
