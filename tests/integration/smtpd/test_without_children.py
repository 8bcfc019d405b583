"""Without processes, descriptors or a program for a child, the client gets an error and nothing is left."""

import base64
import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.integration.smtpd.test_sessions import TRANSACTION, read_all
from tests.support.smtp_servers import Home, Resident, blocking_server

LOGIN = b"AUTH PLAIN " + base64.b64encode(b"\0joe\0good") + b"\r\n"
Serve = Callable[[Home, bytes], bytes]


def resident(home: Home, client_data: bytes, **environ: str) -> bytes:
    with Resident(home, **environ) as server, server.connect() as client:
        client.sendall(client_data + b"QUIT\r\n")
        return read_all(client)


def waiting(home: Home, client_data: bytes, **environ: str) -> bytes:
    with blocking_server(home, **environ) as (client, _):
        client.sendall(client_data + b"QUIT\r\n")
        return read_all(client)


BOTH = pytest.mark.parametrize("serve", [resident, waiting])


def no(number: int) -> Callable[..., NoReturn]:
    def fail(*words: object, **more: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


def descriptors() -> int:
    # What a test server that has ended still counts in goes with it.
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@BOTH
@pytest.mark.parametrize(
    ("call", "number", "line"),
    [
        ("pipe", 24, b"454 oops, unable to open pipe and I can't auth (#4.3.0)"),
        ("posix_spawnp", 11, b"454 oops, child won't start and I can't auth (#4.3.0)"),
        ("posix_spawnp", 2, b"454 oops, child won't start and I can't auth (#4.3.0)"),
    ],
)
def test_a_login_without_a_checker_is_put_off(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, call: str, number: int, line: bytes
) -> None:
    home = Home(tmp_path / "home", smtpcheckpw="checker true\n")
    serve(home, b"")
    before = descriptors()
    monkeypatch.setattr(f"eqmail_core.smtpd.server.helper_process.os.{call}", no(number))
    replies = serve(home, LOGIN + b"MAIL FROM:<a@b>\r\nRCPT TO:<x@foreign.test>\r\n")
    monkeypatch.undo()
    assert line in replies
    assert b"\r\n553 " in replies
    assert descriptors() == before


@BOTH
@pytest.mark.parametrize(
    ("call", "number", "reason"),
    [("pipe", 24, b"can't pipe()"), ("posix_spawn", 11, b"fork() failed"), ("posix_spawn", 2, b"can't execute")],
)
def test_a_command_without_its_plugin_is_put_off(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, call: str, number: int, reason: bytes
) -> None:
    home = Home(tmp_path / "home", smtpplugins="[mail]\n/bin/true\n")
    serve(home, b"")
    before = descriptors()
    monkeypatch.setattr(f"eqmail_core.smtpd.server.helper_process.os.{call}", no(number))
    replies = serve(home, b"MAIL FROM:<a@b>\r\nRCPT TO:<x@ours.test>\r\n")
    monkeypatch.undo()
    assert b"451 qmail-spp failure: /bin/true: " + reason + b" (#4.3.0)\r\n503 " in replies
    assert descriptors() == before


@pytest.mark.parametrize(("call", "number"), [("os.fork", 11), ("open_pipes", 24)])
def test_a_message_without_a_queue_program_is_put_off_and_no_word_of_it_is_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    home = Home(tmp_path / "home")
    waiting(home, b"")
    before = descriptors()
    monkeypatch.setattr(f"eqmail_core.queue.client.blocking.{call}", no(number))
    replies = waiting(home, TRANSACTION)
    monkeypatch.undo()
    assert replies.endswith(b"451 qqt failure (#4.3.0)\r\n221 mx.test\r\n")
    assert descriptors() == before


@pytest.mark.parametrize("serve", [resident, waiting])
def test_a_program_of_qmailqueue_that_is_not_there_puts_the_message_off(
    tmp_path: Path, serve: Callable[..., bytes]
) -> None:
    home = Home(tmp_path / "home")
    before = descriptors()
    replies = serve(home, TRANSACTION + b"x\r\n.\r\n", QMAILQUEUE=f"{tmp_path}/none")
    assert b"451 unable to exec qq (#4.3.0)\r\n" in replies
    assert descriptors() == before
