"""The blocking driver: how it ends, and its log lines."""

import time
from pathlib import Path

import pytest

from tests.support.smtp_servers import Home, blocking_server

TRANSACTION = b"MAIL FROM:<a@b>\r\nRCPT TO:<j@ours.test>\r\nDATA\r\n"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def everything(client: object) -> bytes:
    text = b""
    while data := client.recv(65536):  # type: ignore[attr-defined]
        text += data
    return text


def test_only_quit_exits_0(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    with blocking_server(home) as (client, codes):
        client.sendall(b"QUIT\r\n")
        assert everything(client) == b"220 mx.test ESMTP\r\n221 mx.test\r\n"
    assert codes == [0]
    assert not capfd.readouterr().err


def test_a_client_that_goes_is_logged(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    with blocking_server(home) as (client, codes):
        client.sendall(TRANSACTION + b"half a mess")
        answers = b""
        while b"354" not in answers:
            answers += client.recv(100)
    assert codes == [1]
    assert capfd.readouterr().err == "qmail-smtpd: read failed: a@b from 127.0.0.1 to j@ours.test helo unknown\n"
    assert not [envelope for envelope, _ in home.queued() if envelope]


def test_a_silent_client_is_timed_out(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    with blocking_server(home, timeout_s=1) as (client, codes):
        assert everything(client).endswith(b"451 timeout (#4.4.2)\r\n")
    assert codes == [1]
    assert "qmail-smtpd: timeout: (null)" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("code", "line", "what"),
    [
        (11, b"554 envelope address too long for qq (#5.1.3)", "message rejected (envelope address too long"),
        (53, b"451 qq write error or disk full (#4.3.0)", "message delayed (qq write error or disk full"),
    ],
)
def test_the_exit_code_of_the_queue_is_the_reply(
    home: Home, capfd: pytest.CaptureFixture[str], code: int, line: bytes, what: str
) -> None:
    program = Path(home.site.bin) / "refuse"
    program.write_text(f"#!/bin/sh\ncat >/dev/null; exit {code}\n")
    program.chmod(0o755)
    with blocking_server(home, QMAILQUEUE=str(program)) as (client, codes):
        client.sendall(TRANSACTION + b"x\r\n.\r\nQUIT\r\n")
        assert line in everything(client)
    assert codes == [0]
    assert what in capfd.readouterr().err


def test_a_missing_queue_program_is_a_temporary_failure(home: Home) -> None:
    with blocking_server(home, QMAILQUEUE="/nowhere") as (client, _):
        client.sendall(TRANSACTION + b"x\r\n.\r\nQUIT\r\n")
        assert b"451 unable to exec qq (#4.3.0)" in everything(client)


def test_a_client_that_sends_commands_but_no_mail_is_disconnected(tmp_path: Path) -> None:
    with blocking_server(Home(tmp_path / "home", smtpidle="1\n"), timeout_s=60) as (client, codes):
        replies = b""
        try:
            for _ in range(200):
                client.sendall(b"NOOP\r\n")
                replies += client.recv(1000)
                if b"451 timeout" in replies:
                    break
                time.sleep(0.05)
        except OSError:
            pass
        assert replies.endswith(b"451 timeout (#4.4.2)\r\n") or codes == [1]
