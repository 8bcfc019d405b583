"""No input of a client brings a control character into a header, the log, a reply, or an environment."""

import base64
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.smtpd.protocol.proxy_header import BadProxyHeader, parse_proxy_header
from eqmail_core.tcpserver import environment as peer_names
from eqmail_core.tcpserver.ident import user_in
from eqmail_core.tcpserver.log_lines import sanitized
from tests.support.smtp_servers import Home, Resident, blocking_server

CONTROLS = [bytes([byte]) for byte in (0, 1, 8, 13, 27, 31, 127)]
LINES = b"MAIL FROM:<a@b>\r\nRCPT TO:<j@ours.test>\r\nDATA\r\nSubject: t\r\n\r\nx\r\n.\r\nQUIT\r\n"


def encoded(text: bytes) -> bytes:
    return base64.b64encode(text)


# Client input before the message, where % stands for the control character.
ENTRIES = {
    "HELO": b"HELO a%c\r\n",
    "EHLO": b"EHLO a%c\r\n",
    "verb": b"VR%cFY\r\n",
    "argument of nothing": b"VRFY a%c\r\n",
    "MAIL": b"MAIL FROM:<x%cy@b>\r\n",
    "MAIL quoted": b'MAIL FROM:<"x%cy"@b>\r\n',
    "MAIL escaped": b"MAIL FROM:<x\\%cy@b>\r\n",
    "AUTH parameter": b"MAIL FROM:<a@b> AUTH=me%cyou\r\n",
    "unknown parameter": b"MAIL FROM:<a@b> X=me%cyou\r\n",
    "RCPT": b"MAIL FROM:<a@b>\r\nRCPT TO:<x%cy@ours.test>\r\n",
    "RCPT of the host": b"MAIL FROM:<a@b>\r\nRCPT TO:<x@o%curs.test>\r\n",
}
USERS = [b"joe%cjoe", b"joe%c", b"%cjoe"]


def auth_lines(method: str, user: bytes) -> bytes:
    return {
        "PLAIN": b"AUTH PLAIN " + encoded(b"\0" + user + b"\0good") + b"\r\n",
        "LOGIN": b"AUTH LOGIN " + encoded(user) + b"\r\n" + encoded(b"good") + b"\r\n",
        "CRAM-MD5": b"AUTH CRAM-MD5\r\n" + encoded(user + b" " + b"0" * 32) + b"\r\n",
    }[method]


class EnvironmentRecorder:
    """A home whose plugins, password checker and queue write down their environments."""

    def __init__(self, path: Path) -> None:
        self.seen = path / "seen"
        self.seen.mkdir(parents=True)
        note = f"env -0 >{self.seen}/$$"
        sections = "connection helo mail rcpt data auth".split()
        self.home = Home(path / "home", smtpcheckpw="./bin/yes", receivedesmtp="1")
        self.home.write("smtpplugins", "".join(f"[{name}]\n:{note}\n" for name in sections))
        program = Path(self.home.site.bin) / "qmail-queue"
        program.write_text(program.read_text() + note + "\n")
        checker = Path(self.home.site.bin) / "yes"
        checker.write_text(f"#!/bin/sh\n{note}\n")
        checker.chmod(0o755)

    @contextmanager
    def client(self, driver: str) -> Iterator[socket.socket]:
        queue = f"{self.home.site.bin}/qmail-queue"
        if driver == "waiting":
            with blocking_server(self.home, QMAILQUEUE=queue) as (client, _):
                yield client
        else:
            with Resident(self.home, QMAILQUEUE=queue) as server, server.connect() as client:
                yield client

    def check(self, replies: bytes, log: str) -> None:
        """Check everything that resulted from the input of the client."""
        assert not re.search(rb"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n", replies), replies
        assert not re.search(r"[\0-\x08\x0b-\x1f\x7f]", log), log
        assert all(line.startswith("qmail-smtpd: ") for line in log.splitlines()), log
        environments = [path.read_bytes() for path in self.seen.iterdir()]
        for variable in b"".join(environments).split(b"\0"):
            if variable.startswith((b"SMTP", b"TCP", b"RELAYCLIENT")):
                assert not re.search(rb"[\x01-\x08\x0a-\x1f\x7f]", variable), variable
        for envelope, message in self.home.queued():
            header = message.partition(b"\n\n")[0]
            assert header.count(b"\n") == 2, header
            assert not re.search(rb"[\0-\x08\x0b-\x1f\x7f]", header + envelope.replace(b"\0", b"")), header


def speak(client: socket.socket, client_data: bytes) -> bytes:
    client.sendall(client_data)
    replies = b""
    while piece := client.recv(4096):
        replies += piece
    return replies


@pytest.mark.parametrize("driver", ["waiting", "resident"])
@pytest.mark.parametrize("entry", ENTRIES)
def test_in_a_command_reach_no_environment_and_no_log(
    driver: str, entry: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number, control in enumerate(CONTROLS[:: 1 if driver == "resident" else 4]):
        recorder = EnvironmentRecorder(tmp_path / str(number))
        with recorder.client(driver) as client:
            replies = speak(client, ENTRIES[entry].replace(b"%c", control) + b"RSET\r\n" + LINES)
        assert b"\r\n354 " in replies
        recorder.check(replies, capfd.readouterr().err)
        assert recorder.home.queued()


@pytest.mark.parametrize("driver", ["waiting", "resident"])
@pytest.mark.parametrize("method", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_in_a_user_name_are_refused(
    driver: str, method: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number, user in enumerate(
        [it.replace(b"%c", control) for it in USERS for control in (b"\n", b"\r\n", b"\x1b")]
    ):
        recorder = EnvironmentRecorder(tmp_path / str(number))
        with recorder.client(driver) as client:
            replies = speak(client, auth_lines(method, user) + LINES)
        assert b"\r\n501 malformed auth input (#5.5.4)\r\n" in replies
        recorder.check(replies, capfd.readouterr().err)


@pytest.mark.parametrize("driver", ["waiting", "resident"])
def test_a_password_may_be_anything(driver: str, tmp_path: Path) -> None:
    recorder = EnvironmentRecorder(tmp_path)
    with recorder.client(driver) as client:
        replies = speak(client, b"AUTH PLAIN " + encoded(b"\0joe\0go\x1b\nod") + b"\r\n" + LINES)
    assert b"\r\n235 ok, joe, go ahead" in replies


@given(st.binary(max_size=40))
def test_in_an_ident_answer_are_sanitized(name: bytes) -> None:
    user = user_in(b"1 , 2 : USERID : UNIX : " + name.replace(b"\n", b"") + b"\r\n")
    assert user is not None and not re.search(rb"[\0-\x20\x7f]", user)


def test_in_a_dns_name_are_sanitized(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(ip: str) -> tuple[str, list[str], list[str]]:
        return "a\nb\x1b.Example", [], [ip]

    monkeypatch.setattr(peer_names._socket, "gethostbyaddr", answer)
    assert peer_names.name_of("192.0.2.1") == b"a?b?.example"


@given(st.data())
def test_in_a_proxy_header_are_refused(data: Any) -> None:
    """Addresses of a proxy header are used in canonical form only."""
    words = [
        data.draw(st.sampled_from([b"192.0.2.1", b"::1", b"198.51.100.2", b"1", b"25", b"\r", b"\0"])) for _ in "abcd"
    ]
    spoilt = data.draw(st.sampled_from([b"", b"\0", b"\n", b"\r", b"\x1b"]))
    line = b"PROXY %b %b\r\n" % (data.draw(st.sampled_from([b"TCP4", b"TCP6", b"UNKNOWN"])), b" ".join(words) + spoilt)
    try:
        ends, _ = parse_proxy_header(line)
    except BadProxyHeader:
        return
    if ends is not None:
        assert all(str(ip_address(ip)) == ip for ip, _ in (ends.remote, ends.local))


def test_the_log_of_qmail_tcpsrv() -> None:
    assert sanitized(b"a\nb\x1bc%") == b"a?b?c?"


def test_an_environment_of_a_super_server_is_not_believed_to_be_clean(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What tcpserver passes about the client is sanitized for header and log; the variables themselves are not ours."""
    recorder = EnvironmentRecorder(tmp_path)
    names = {"TCPREMOTEHOST": "h\r\nX: y\x1b", "TCPREMOTEINFO": "i\nX: y", "TCPLOCALHOST": "l\nX: y"}
    with blocking_server(recorder.home, QMAILQUEUE=f"{recorder.home.site.bin}/qmail-queue", **names) as (client, _):
        speak(client, LINES)
    ((_, message),) = recorder.home.queued()
    first = message.split(b"\n")[0]
    assert first == b"Received: from h??X:?y? (i?X:?y@127.0.0.1)"
    assert message.partition(b"\n\n")[0].count(b"\n") == 2
    assert "\x1b" not in capfd.readouterr().err
