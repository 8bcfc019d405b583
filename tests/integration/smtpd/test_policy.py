"""Who is made to wait, limited, denied or introduced by a proxy, on a running server."""

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from eqmail_core.access.networks import NetworkSet
from eqmail_core.smtpd.policy import authentication as login
from eqmail_core.tcpserver.rules_database import compile_rules, find_rule
from tests.integration.smtpd.test_sessions import read_all, until
from tests.support.smtp_servers import Home, Resident, blocking_server

WRONG, RIGHT = b"AUTH PLAIN AGpvZQBiYWQ=\r\n", b"AUTH PLAIN AGpvZQBnb29k\r\n"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_sessions_per_address_are_limited(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    with Resident(home) as server:
        server.settings.limits.sessions = 2
        with server.connect() as one, server.connect() as two:
            assert one.recv(100).startswith(b"220")
            assert two.recv(100).startswith(b"220")
            with server.connect() as three:
                assert read_all(three) == b"421 too many connections from your address (#4.7.0)\r\n"
            one.sendall(b"QUIT\r\n")
            read_all(one)
            until(lambda: len(server.context.sessions) == 1)
            with server.connect() as four:
                assert four.recv(100).startswith(b"220")
        until(lambda: not server.context.sessions)
        assert server.context.counts.total == 0
    log = capfd.readouterr().err
    assert log.startswith("qmail-smtpd: too many connections: (null) from 127.0.0.1 to (null) helo unknown\n")


class TestGreetDelay:
    """greetdelay."""

    @pytest.mark.parametrize("early", [b"", b"HELO spam\r\n"])
    def test_an_early_talker_is_disconnected(self, home: Home, early: bytes) -> None:
        home.write("greetdelay", "1\n")
        expected = b"554 wait for my greeting (#5.5.1)\r\n" if early else b"220 mx.test ESMTP\r\n"
        with Resident(home) as server, server.connect() as client, blocking_server(home) as (other, _):
            for sock in (client, other):
                sock.sendall(early)
            for sock in (client, other):
                assert sock.recv(100) == expected

    def test_relay_clients_have_no_greet_delay(self, home: Home) -> None:
        home.write("greetdelay", "60\n")
        home.write("relayclients", "127.0.0.1\n")
        with Resident(home) as server, server.connect() as client:
            assert client.recv(100).startswith(b"220")


def test_a_missing_checker_is_a_temporary_failure(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    home.write("smtpcheckpw", "bin/gone true\n")
    with Resident(home) as server, server.connect() as client, blocking_server(home) as (other, _):
        for sock in (client, other):
            sock.sendall(RIGHT + b"QUIT\r\n")
            assert b"\r\n454 oops, child won't start and I can't auth (#4.3.0)\r\n221" in read_all(sock)
    assert capfd.readouterr().err.count("alert: unable to run bin/gone: file does not exist\n") == 2


def test_disconnected_clients_are_logged(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    home.write("smtpmaxerrors", "1\n")
    with Resident(home) as server, server.connect() as client, blocking_server(home) as (other, codes):
        for sock in (client, other):
            sock.sendall(b"HELO c\r\nFOO\r\nBAR\r\n")
            assert read_all(sock).endswith(b"421 too many errors (#4.7.0)\r\n")
    assert codes == [0]
    assert capfd.readouterr().err.count("qmail-smtpd: too many errors: (null) from 127.0.0.1 to (null) helo c\n") == 2


def test_excess_recipients_are_delayed(home: Home) -> None:
    home.write("tarpitcount", "1\n")
    home.write("tarpitdelay", "1\n")
    with Resident(home) as server, server.connect() as client, blocking_server(home) as (other, _):
        for sock in (client, other):
            sock.recv(100)
            sock.sendall(b"MAIL FROM:<a@b>\r\nRCPT TO:<j@ours.test>\r\n")
            received = b""
            while received.count(b"ok") < 2:
                received += sock.recv(100)
            began = time.monotonic()
            sock.sendall(b"RCPT TO:<k@ours.test>\r\n")
            assert sock.recv(100) == b"250 ok\r\n"
            assert time.monotonic() - began > 0.9  # no machine is too slow for that


def test_after_some_wrong_passwords_an_address_is_refused_unchecked(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "FAILED_AUTH_PAUSE_S", 0.0)
    home.write("smtpcheckpw", "bin/checker /bin/true\n")
    with Resident(home) as server:
        server.settings.limits.login_failures = 2

        def attempt(words: bytes) -> bytes:
            with server.connect() as client:
                client.recv(100)
                client.sendall(words + b"QUIT\r\n")
                return read_all(client)[:3]

        assert attempt(RIGHT) == b"235"
        assert [attempt(WRONG), attempt(WRONG), attempt(RIGHT)] == [b"535", b"535", b"535"]
        server.context.now += 601
        server.context.sweep = lambda: None  # type: ignore[method-assign]
        assert attempt(RIGHT) == b"235"


class TestRules:
    """tcprules.cdb for the service."""

    def with_rules(self, home: Home, server: Resident, *lines: bytes) -> None:
        path = f"{home.site.control}/tcprules.cdb"
        compile_rules(path, f"{path}.tmp", lines)
        server.settings.rule_for = lambda ip: find_rule(path, ip, None, None)

    def test_rules_set_variables(self, home: Home) -> None:
        with Resident(home) as server:
            self.with_rules(home, server, b'127.:allow,RELAYCLIENT="@gate",TCPREMOTEINFO="local"')
            with server.connect() as client:
                client.sendall(b"MAIL FROM:<a@b>\r\nRCPT TO:<x@foreign>\r\nDATA\r\n.\r\nQUIT\r\n")
                read_all(client)
            ((envelope, message),) = server.queued()
        assert envelope == b"Fa@b\0Tx@foreign@gate\0\0W A:127.0.0.1\0"
        assert b"(local@127.0.0.1)" in message

    def test_a_denied_client_gets_no_greeting(self, home: Home, capfd: pytest.CaptureFixture[str]) -> None:
        with Resident(home) as server:
            self.with_rules(home, server, b"127.0.0.1:deny", b":allow")
            with server.connect() as client:
                assert read_all(client) == b""
            assert not server.context.sessions
        assert capfd.readouterr().err == "qmail-smtpd: denied by a rule: (null) from 127.0.0.1 to (null) helo unknown\n"

    def test_unreadable_rules_are_a_temporary_failure(self, home: Home) -> None:
        with Resident(home) as server:
            server.settings.rule_for = lambda ip: find_rule("/nowhere/rules.cdb", ip, None, None)
            with server.connect() as client:
                assert read_all(client) == b"421 unable to read controls (#4.3.0)\r\n"


class TestProxy:
    """proxyfrom."""

    HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\n"
    MESSAGE = b"MAIL FROM:<a@b>\r\nRCPT TO:<j@ours.test>\r\nDATA\r\n.\r\nQUIT\r\n"

    def test_a_trusted_proxy_names_the_client(self, home: Home) -> None:
        with Resident(home) as server, ExitStack() as stack:
            server.settings.proxies = NetworkSet([b"127.0.0.0/8"])
            client = stack.enter_context(server.connect())
            for piece in (self.HEADER[:9], self.HEADER[9:] + self.MESSAGE):
                client.sendall(piece)
                time.sleep(0.02)
            assert read_all(client).startswith(b"220 mx.test ESMTP\r\n250 ok\r\n")
            ((_, message),) = server.queued()
            assert b"(192.0.2.7)" in message

    def test_a_malformed_header_ends_the_connection(self, home: Home, capfd: pytest.CaptureFixture[str]) -> None:
        with Resident(home) as server:
            server.settings.proxies = NetworkSet([b"127.0.0.1"])
            with server.connect() as client:
                client.sendall(b"EHLO x\r\n")
                try:
                    assert client.recv(100) == b""
                except ConnectionResetError:
                    pass
            with server.connect():
                pass  # it looks whether we are there
            assert not server.context.sessions
        line = "qmail-smtpd: no header of the PROXY protocol: (null) from 127.0.0.1 to (null) helo (null)\n"
        assert capfd.readouterr().err == line

    def test_an_untrusted_proxy_is_refused(self, home: Home) -> None:
        with Resident(home) as server, server.connect() as client:
            client.sendall(self.HEADER + b"QUIT\r\n")
            assert b"500 unrecognised" in read_all(client)

    def test_a_proxy_may_connect_for_itself(self, home: Home) -> None:
        with Resident(home) as server:
            server.settings.proxies = NetworkSet([b"127.0.0.1"])
            with server.connect() as client:
                client.sendall(b"PROXY UNKNOWN\r\nQUIT\r\n")
                assert read_all(client).startswith(b"220 ")
