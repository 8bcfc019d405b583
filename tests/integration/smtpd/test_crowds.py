"""Many clients: what one address may have, how long idlers stay, and how many children they cause."""

import base64
import os
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from eqmail_core.smtpd.server.async_session import AsyncSmtpSession
from eqmail_core.smtpd.server.config import AddressLimits
from tests.integration.smtpd.test_sessions import TRANSACTION, read_all, until
from tests.support.smtp_servers import Home, Resident

# Reports that it runs, and waits for the order to end.
CHECKER = """#!/bin/sh
echo $$ >"{0}/running/$$"
while ! test -e "{0}/end"; do sleep 0.01; done
rm "{0}/running/$$"
exit {1}
"""
AUTH = b"AUTH PLAIN " + base64.b64encode(b"\0joe\0secret") + b"\r\n"


def with_checker(path: Path, code: int) -> Home:
    home = Home(path / "home", smtpcheckpw=f"{path}/checker\n")
    (path / "running").mkdir()
    (path / "checker").write_text(CHECKER.format(path, code))
    (path / "checker").chmod(0o755)
    return home


def test_few_checkers_run_at_a_time_and_every_login_gets_an_answer(tmp_path: Path) -> None:
    server = Resident(with_checker(tmp_path, 0), limit=50)
    server.settings.limits = AddressLimits(checkers=2)
    server.context.replace_config(server.settings)
    with server:
        clients = [server.connect() for _ in range(8)]
        for client in clients:
            assert client.recv(100).startswith(b"220")
            client.sendall(AUTH)
        running = tmp_path / "running"
        until(lambda: len(list(running.iterdir())) == 2 and server.context.checkers.waiting == 6)
        with server.connect() as other:
            assert other.recv(100).startswith(b"220")
        gone = clients.pop()
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()
        until(lambda: server.context.checkers.waiting == 5)
        (tmp_path / "end").touch()
        for client in clients:
            assert client.recv(100).startswith(b"235")
            client.close()
    assert not list(running.iterdir())


def test_waiting_logins_are_refused_unchecked_after_too_many_failures(tmp_path: Path) -> None:
    server = Resident(with_checker(tmp_path, 1), limit=50)
    server.settings.limits = AddressLimits(checkers=1, login_failures=1)
    server.context.replace_config(server.settings)
    with server:
        clients = [server.connect() for _ in range(4)]
        for client in clients:
            client.recv(100)
            client.sendall(AUTH)
        until(lambda: server.context.checkers.waiting == 3)
        (tmp_path / "end").touch()
        until(lambda: not server.context.checkers.waiting)
        assert server.context.is_guessing_passwords(b"127.0.0.1")
        for client in clients:
            client.close()


def test_a_checker_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eqmail_core.smtpd.server.async_requests.CHECKER_S", 0.2)
    with Resident(with_checker(tmp_path, 0)) as server, server.connect() as client:
        client.recv(100)
        client.sendall(AUTH)
        assert client.recv(100).startswith(b"454 oops, problem with child")


@pytest.mark.parametrize("leaves_child", [False, True])
def test_a_plugin_that_never_ends_is_ended_with_what_holds_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves_child: bool
) -> None:
    monkeypatch.setattr("eqmail_core.smtpd.server.async_requests.PLUGIN_S", 0.3)
    pids = tmp_path / "pids"
    script = "sleep 1000 & echo $! >>" + f"{pids}; " + ("exit 0" if leaves_child else "wait")
    home = Home(tmp_path / "home", smtpplugins=f"[mail]\n:{script}\n")
    with Resident(home) as server, server.connect() as client:
        client.recv(100)
        client.sendall(b"MAIL FROM:<>\r\n")
        answer = client.recv(200)
        assert answer == b"250 ok\r\n" if leaves_child else answer.startswith(b"451 qmail-spp failure")
    for pid in pids.read_text().split():
        os.kill(int(pid), signal.SIGKILL)


def later(server: Resident, seconds: int, sessions: Callable[[], list[AsyncSmtpSession]]) -> None:
    """Make it that late since these clients were last in a transaction; they may have talked meanwhile."""

    def pass_by() -> None:
        for session in sessions():
            session._idle_since -= seconds
        server.context.sweep()

    server.call(pass_by)


def all_of(server: Resident) -> list[AsyncSmtpSession]:
    return [session for session in server.context.sessions if isinstance(session, AsyncSmtpSession)]


def test_a_client_that_sends_commands_but_no_mail_is_disconnected(tmp_path: Path) -> None:
    server = Resident(Home(tmp_path / "home"), timeout_s=1200)
    server.settings.limits = AddressLimits(idle_s=300)
    with server, server.connect() as client, server.connect() as sender:
        client.sendall(b"NOOP\r\n")
        until(lambda: len(server.context.sessions) == 2)
        assert sender.recv(100).startswith(b"220")
        sender.sendall(TRANSACTION)
        until(lambda: any(session._core.in_body for session in all_of(server)))
        later(server, 301, lambda: all_of(server))
        assert read_all(client).endswith(b"451 timeout (#4.4.2)\r\n")
        later(server, 10_000, lambda: all_of(server))
        sender.sendall(b"x\r\n.\r\nQUIT\r\n")
        assert b"250 ok " in read_all(sender)


def test_timeouts_are_shorter_when_the_service_is_nearly_full(tmp_path: Path) -> None:
    server = Resident(Home(tmp_path / "home"), limit=2, timeout_s=1200)
    server.settings.limits = AddressLimits(idle_s=300)
    with server, server.connect() as one:
        assert one.recv(100).startswith(b"220")
        server.settings.limit = 20
        later(server, 31, lambda: all_of(server))
        one.sendall(b"NOOP\r\n")
        assert one.recv(100) == b"250 ok\r\n"
        server.settings.limit = 1
        later(server, 31, lambda: all_of(server))
        assert read_all(one) == b"451 timeout (#4.4.2)\r\n"


def test_one_ipv6_network_has_the_limits_of_one_address(tmp_path: Path) -> None:
    server = Resident(Home(tmp_path / "home"))
    server.settings.limits = AddressLimits(sessions=2, login_failures=2)
    context = server.context
    sessions = [AsyncSmtpSession(context) for _ in range(4)]
    assert context.enter(sessions[0], b"2001:db8::1") == b""
    assert context.enter(sessions[1], b"2001:db8::2") == b""
    assert context.enter(sessions[2], b"2001:db8::3").startswith(b"421")
    assert context.enter(sessions[3], b"2001:db8:0:1::3") == b""
    context.leave(sessions[0], b"2001:db8::1")
    assert context.enter(sessions[2], b"2001:db8::3") == b""
    for number in range(2):
        context.note_failure(b"2001:db8::%d" % number)
    assert context.is_guessing_passwords(b"2001:db8::99")
    assert not context.is_guessing_passwords(b"2001:db8:0:1::")
    server.loop.close()
    server.listener.close()
