"""qmail-popup with STLS, and qmail-chkpw as the checker that becomes the owner of a mailbox."""

import os
import poplib
import pwd
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from eqmail_core.site.site import Site
from eqmail_core.site.site_file import render_site
from eqmail_setup.mail import certificates
from tests.support.programs import Home

TIMEOUT_S = 60


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A single-user home with a certificate, and a message for the caller's mailbox ann."""
    home = Home(tmp_path)
    pair = certificates.self_signed(
        certificates.new_key(certificates.ECDSA), ["mail.example.org"], datetime.now(UTC), 9
    )
    (tmp_path / "control/servercert.pem").write_bytes(pair)
    (tmp_path / "site").write_bytes(render_site(Site(home=str(tmp_path), single_user=True)))
    for folder in ("users", "ann/Maildir/new", "ann/Maildir/cur", "ann/Maildir/tmp"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ann/Maildir/new/1.a.b").write_bytes(b"Subject: hello\n\n.dot\n" + (b"x" * 69 + b"\n") * 1000)
    os.utime(tmp_path / "ann/Maildir/new/1.a.b", (1_700_000_000, 1_700_000_000))
    (tmp_path / "control/virtualdomains").write_text("example.net:v\n")
    uid, gid = os.getuid(), os.getgid()
    (tmp_path / "users/assign").write_text(f"=v-ann:ann:{uid}:{gid}:{tmp_path}/ann:::\n.\n")
    made = home.run("qmail_newu")
    assert made.returncode == 0, made.stderr
    (tmp_path / "users/smtpauth").write_text(
        "ann@example.net:secret\njoe@elsewhere.example:secret\nnobody-here:secret\n"
    )
    for module in ("qmail_popup", "qmail_chkpw", "qmail_pop3d"):
        home.install(module)
    return home


Connect = Callable[..., poplib.POP3]


@pytest.fixture
def connect(home: Home) -> Iterator[Connect]:
    """Connects a client to qmail-popup, which serves each connection as a super-server starts it."""
    listener = socket.create_server(("127.0.0.1", 0))
    environ = {"PATH": os.environ["PATH"], "TLSREQUIRED": "1"}
    words = ["qmail-popup", "mx.test", f"{home.path}/bin/qmail-chkpw", "-m", f"{home.path}/bin/qmail-pop3d", "Maildir"]
    servers: list[subprocess.Popen[bytes]] = []

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            program = f"{home.path}/bin/qmail-popup"
            servers.append(subprocess.Popen(words, executable=program, stdin=client, stdout=client, env=environ))
            client.close()

    threading.Thread(target=serve, daemon=True).start()
    clients: list[poplib.POP3] = []

    def connected() -> poplib.POP3:
        clients.append(poplib.POP3("127.0.0.1", listener.getsockname()[1], timeout=TIMEOUT_S))
        return clients[-1]

    yield connected
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for client in clients:
        client.close()
    for server in servers:
        server.wait(TIMEOUT_S)


def secured(client: poplib.POP3) -> poplib.POP3:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client.stls(context)
    return client


def test_a_session_under_tls_reads_and_removes_mail(home: Home, connect: Connect) -> None:
    client = connect()
    assert "STLS" in client.capa() and "USER" not in client.capa()
    with pytest.raises(poplib.error_proto, match="STLS first"):
        client.user("ann@example.net")
    secured(client)
    assert "STLS" not in client.capa() and "USER" in client.capa()
    client.user("ann@example.net")
    assert client.pass_("secret").startswith(b"+OK")
    assert client.stat()[0] == 1
    _, lines, _ = client.retr(1)
    assert lines[0] == b"Subject: hello" and lines[2] == b".dot" and lines[3:1003] == [b"x" * 69] * 1000
    client.dele(1)
    assert client.quit().startswith(b"+OK")
    assert not list((home.path / "ann/Maildir/new").iterdir())


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("ann@example.net", "wrong"),
        ("ann+list@example.net", "secret"),
        ("joe@elsewhere.example", "secret"),
        ("nobody-here", "secret"),
    ],
)
def test_others_are_refused(connect: Connect, login: str, password: str) -> None:
    """A wrong password, and logins that have no mailbox here."""
    client = secured(connect())
    client.user(login)
    with pytest.raises(poplib.error_proto, match="authorization failed"):
        client.pass_(password)


def test_commands_sent_together_are_all_answered(connect: Connect) -> None:
    client = secured(connect())
    client.sock.sendall(b"USER ann@example.net\r\nPASS secret\r\nSTAT\r\nUIDL\r\nNOOP\r\nQUIT\r\nNOOP\r\n")
    said = b""
    while chunk := client.sock.recv(4096):
        said += chunk
    assert said.count(b"+OK") == 6 and b"1 1.a.b" in said


def test_a_client_that_leaves_ends_everything(connect: Connect) -> None:
    client = secured(connect())
    client.user("ann@example.net")
    client.pass_("secret")
    client.close()


def test_a_broken_certificate_is_refused_and_the_session_goes_on(home: Home, connect: Connect) -> None:
    (home.path / "control/servercert.pem").write_text("nonsense\n")
    client = connect()
    with pytest.raises(poplib.error_proto, match="TLS is not available"):
        client.stls()
    assert client.noop().startswith(b"+OK")


@pytest.mark.root
def test_the_session_runs_as_the_owner_of_the_mailbox(home: Home) -> None:
    """With real accounts, and with numbers that no account has."""
    (home.path / "site").write_bytes(render_site(Site(home=str(home.path))))
    for folder in (home.path, *home.path.parents):
        if folder != Path("/") and folder.stat().st_mode & 0o011 != 0o011:
            folder.chmod(folder.stat().st_mode | 0o011)
    uid = 65111
    os.chown(home.path / "ann", uid, uid)
    (home.path / "users/assign").write_text(f"=v-ann:ann:{uid}:{uid}:{home.path}/ann:::\n.\n")
    assert home.run("qmail_newu").returncode == 0
    command = ["/bin/sh", "-c", 'exec "$@" 3<&0', "sh", f"{home.path}/bin/qmail-chkpw", "-m"]
    command += ["/bin/sh", "-c", "id -u; id -g; pwd; echo $HOME $USER"]
    done = subprocess.run(command, input=b"ann@example.net\0secret\0\0", capture_output=True)
    assert done.stdout.decode().split() == [str(uid), str(uid), f"{home.path}/ann", f"{home.path}/ann", "ann"]
    assert pwd.getpwuid(0).pw_name == "root"
    (home.path / "users/smtpauth").write_text("root:secret\n")
    done = subprocess.run(command, input=b"root\0secret\0\0", capture_output=True)
    assert done.returncode != 0 and not done.stdout
