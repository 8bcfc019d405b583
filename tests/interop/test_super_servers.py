"""qmail-smtpd and qmail-popup below tcpserver, xinetd, inetd and qmail-tcpsrv, with clients of others."""

import os
import poplib
import shutil
import smtplib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import eqmail
from tests.support.foreign_servers import unpacked
from tests.support.mail_system import MailSystem, free_port, make_maildir, messages, until

pytestmark = pytest.mark.slow
ME = "mail.example.org"
BOX = f"box@{ME}"

needs_tcpserver = pytest.mark.skipif(not shutil.which("tcpserver"), reason="needs the Debian package ucspi-tcp")
needs_xinetd = pytest.mark.skipif(
    not os.path.exists("/usr/sbin/xinetd") or os.geteuid() != 0, reason="needs root and the Debian package xinetd"
)
needs_swaks = pytest.mark.skipif(not shutil.which("swaks"), reason="needs the Debian package swaks")

CHECKER = """#!/bin/sh
# A checkpassword program of four lines: who is joe with the password secret may have the rest of the words run.
read_them() { tr '\\0' '\\n' <&3; }
[ "$(read_them | head -n 2 | tr '\\n' ' ')" = "joe secret " ] || exit 1
exec "$@" 3<&-
"""


@pytest.fixture(scope="module")
def mail_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailSystem]:
    home = tmp_path_factory.mktemp("interop") / "home"
    assert eqmail("--home", home, "setup", "--single-user").returncode == 0
    assert eqmail("--home", home, "config-fast", ME).returncode == 0
    make_maildir(home / "alias/Maildir")
    (home / "alias/.qmail-box").write_text("./Maildir/\n")
    encrypted = subprocess.run(
        [home / "bin/qmail-chkpw", "-r"], input="secret\n", capture_output=True, text=True, check=True
    )
    (home / "users/smtpauth").write_text(f"joe:{encrypted.stderr.strip()}\nann:clear secret\n")
    (home / "checker").write_text(CHECKER)
    (home / "checker").chmod(0o755)
    running = MailSystem(home)
    yield running
    running.stop()


@pytest.fixture
def maildir(mail_system: MailSystem) -> Path:
    """The Maildir of the box, emptied."""
    path = mail_system.home / "alias/Maildir"
    for message in [*path.glob("new/*"), *path.glob("cur/*")]:
        message.unlink()
    return path


@contextmanager
def running(command: list[str | Path], port: int, code: int | None = None) -> Iterator[int]:
    """A server that is up; `code` is what it has to say to TERM."""
    process = subprocess.Popen([*map(str, command)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:

        def is_up() -> bool:
            assert process.poll() is None, process.stderr and process.stderr.read()
            with socket.socket() as sock:
                return sock.connect_ex(("127.0.0.1", port)) == 0

        until(is_up, "the server's port")
        yield port
    finally:
        process.terminate()
        ended = process.wait(60)
        process.stderr.close()
    assert code is None or ended == code


Serve = Callable[[MailSystem, Path, list[str | Path]], "Iterator[int]"]


@contextmanager
def below_tcpserver(mail_system: MailSystem, folder: Path, program: list[str | Path]) -> Iterator[int]:
    port = free_port()
    with running(["tcpserver", "-HRl0", "127.0.0.1", str(port), *program], port) as up:
        yield up


@contextmanager
def below_tcpsrv(mail_system: MailSystem, folder: Path, program: list[str | Path]) -> Iterator[int]:
    port = free_port()
    with running([mail_system.home / "bin/qmail-tcpsrv", "-HRl0", "127.0.0.1", str(port), *program], port, 0) as up:
        yield up


@contextmanager
def below_xinetd(mail_system: MailSystem, folder: Path, program: list[str | Path]) -> Iterator[int]:
    """As the recipe of the 1.09 page has it: the -R becomes the name of tcp-env itself, and is no option."""
    port = free_port()
    (folder / "xinetd.conf").write_text(
        f"service eqmail-test\n{{\n type = UNLISTED\n port = {port}\n bind = 127.0.0.1\n socket_type = stream\n"
        " protocol = tcp\n wait = no\n user = root\n flags = NAMEINARGS IPv4\n instances = 20\n cps = 1000 1\n"
        f" server = {mail_system.home}/bin/tcp-env\n server_args = -R {' '.join(map(str, program))}\n}}\n"
    )
    command = ["/usr/sbin/xinetd", "-dontfork", "-f", f"{folder}/xinetd.conf", "-pidfile", f"{folder}/pid"]
    with running([*command, "-filelog", f"{folder}/log"], port) as up:
        yield up


@contextmanager
def below_inetd(mail_system: MailSystem, folder: Path, program: list[str | Path]) -> Iterator[int]:
    """Debian's, which cannot be installed beside xinetd; it makes the connection standard error, too."""
    port = free_port()
    words = " ".join(map(str, program))
    tcp_env = mail_system.home / "bin/tcp-env"
    (folder / "inetd.conf").write_text(f"127.0.0.1:{port} stream tcp nowait root {tcp_env} tcp-env -R {words}\n")
    with running([unpacked("openbsd-inetd") / "usr/sbin/inetd", "-d", "-i", folder / "inetd.conf"], port) as up:
        yield up


SERVERS = [
    pytest.param(below_tcpserver, marks=needs_tcpserver, id="tcpserver"),
    pytest.param(below_xinetd, marks=needs_xinetd, id="xinetd"),
    pytest.param(below_tcpsrv, id="qmail-tcpsrv"),
    pytest.param(below_inetd, marks=pytest.mark.root, id="inetd"),
]


def swaks(port: int, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["swaks", "--server", "127.0.0.1", "--port", str(port), "--helo", "client.test", "--to", BOX]
    return subprocess.run([*command, *words], capture_output=True, text=True, check=False, timeout=60)


@needs_swaks
@pytest.mark.parametrize("serve", SERVERS)
def test_a_message_of_swaks_is_delivered(serve: Serve, mail_system: MailSystem, maildir: Path, tmp_path: Path) -> None:
    with serve(mail_system, tmp_path, [mail_system.home / "bin/qmail-smtpd"]) as port:
        done = swaks(port, "--from", "sender@example.net", "--body", "one\n.two\n", "--header", "Subject: through")
        assert done.returncode == 0, done.stdout
        assert f"<-  220 {ME} ESMTP" in done.stdout
        until(lambda: messages(maildir), "the message")
    (text,) = messages(maildir)
    assert "Subject: through" in text
    assert "\none\n.two\n" in text
    assert "qmail-smtpd: message accepted" not in done.stdout, "the client has heard what is for the log"
    assert " (HELO client.test) (127.0.0.1)\n" in text


@pytest.mark.parametrize("serve", SERVERS)
def test_a_client_without_relay_rights_cannot_relay(serve: Serve, mail_system: MailSystem, tmp_path: Path) -> None:
    with (
        serve(mail_system, tmp_path, [mail_system.home / "bin/qmail-smtpd"]) as port,
        smtplib.SMTP("127.0.0.1", port, timeout=60) as client,
    ):
        client.helo("client.test")
        client.mail("a@example.net")
        assert client.rcpt("b@example.com")[0] == 553
        assert client.rcpt(BOX)[0] == 250


@needs_swaks
@pytest.mark.parametrize("checker", ["checker", "bin/qmail-chkpw"])
@pytest.mark.parametrize("mechanism", ["LOGIN", "PLAIN"])
def test_a_checkpassword_program_decides_who_may_relay(
    mechanism: str, checker: str, mail_system: MailSystem, tmp_path: Path
) -> None:
    program: list[str | Path] = [mail_system.home / "bin/qmail-smtpd", mail_system.home / checker, "/bin/true"]
    words = ["--to", "b@example.com", "--quit-after", "RCPT", "--auth", mechanism, "--auth-user", "joe"]
    with below_tcpsrv(mail_system, tmp_path, program) as port:
        done = swaks(port, *words, "--auth-password", "secret")
        assert done.returncode == 0, done.stdout
        assert "<-  235 ok, joe, go ahead (#2.0.0)" in done.stdout
        done = swaks(port, *words, "--auth-password", "wrong")
        assert done.returncode == 28, done.stdout
        assert "<** 535 authentication failed (#5.7.1)" in done.stdout


def test_cram_md5_with_a_clear_secret(mail_system: MailSystem, tmp_path: Path) -> None:
    program: list[str | Path] = [
        mail_system.home / "bin/qmail-smtpd",
        mail_system.home / "bin/qmail-chkpw",
        "/bin/true",
    ]
    with (
        below_tcpsrv(mail_system, tmp_path, program) as port,
        smtplib.SMTP("127.0.0.1", port, "client.test", timeout=60) as client,
    ):
        client.ehlo()
        client.user, client.password = "ann", "clear secret"
        assert client.auth("CRAM-MD5", client.auth_cram_md5)[0] == 235


def pop_program(mail_system: MailSystem) -> list[str | Path]:
    return [
        *[mail_system.home / "bin/qmail-popup", "mx.test", mail_system.home / "bin/qmail-chkpw"],
        *[mail_system.home / "bin/qmail-pop3d", mail_system.home / "alias/Maildir"],
    ]


def put(maildir: Path, name: str, text: str) -> None:
    """A message of an hour ago."""
    path = maildir / "new" / name
    path.write_text(text)
    os.utime(path, (time.time() - 3600, time.time() - 3600))


@pytest.mark.parametrize("serve", SERVERS)
def test_poplib_reads_and_deletes(serve: Serve, mail_system: MailSystem, maildir: Path, tmp_path: Path) -> None:
    put(maildir, "1.a.b", "Subject: one\n\n.dots\n")
    put(maildir, "2.a.b", "Subject: two\n\nkept\n")
    with serve(mail_system, tmp_path, pop_program(mail_system)) as port:
        client = poplib.POP3("127.0.0.1", port, timeout=60)
        client.user("joe")
        client.pass_("secret")
        assert client.stat() == (2, 39)
        assert client.retr(1)[1] == [b"Subject: one", b"", b".dots", b""]
        assert client.uidl()[1] == [b"1 1.a.b", b"2 2.a.b"]
        client.dele(1)
        client.quit()
        client = poplib.POP3("127.0.0.1", port, timeout=60)
        with pytest.raises(poplib.error_proto, match="authorization failed"):
            client.apop("ann", "wrong")
        client.close()
        client = poplib.POP3("127.0.0.1", port, timeout=60)
        client.apop("ann", "clear secret")
        assert client.list()[1] == [b"1 19"]
        client.quit()
    assert [path.name for path in maildir.glob("*/*")] == ["2.a.b:2,"]


@pytest.mark.skipif(not shutil.which("curl"), reason="needs the Debian package curl")
@pytest.mark.parametrize("serve", SERVERS)
def test_curl_lists_and_reads(serve: Serve, mail_system: MailSystem, maildir: Path, tmp_path: Path) -> None:
    put(maildir, "1.a.b", "Subject: one\n\nhello\n")
    with serve(mail_system, tmp_path, pop_program(mail_system)) as port:

        def curl(path: str) -> bytes:
            url = f"pop3://127.0.0.1:{port}/{path}"
            return subprocess.run(
                ["curl", "-s", "-S", "-u", "ann:clear secret", url], capture_output=True, check=True, timeout=60
            ).stdout

        assert curl("") == b"1 20\r\n"
        assert curl("1") == b"Subject: one\r\n\r\nhello\r\n\r\n"
