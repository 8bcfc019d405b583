"""Lists in the DNS count against clients, on both drivers, with a name server on loopback."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_core.dns import resolver
from eqmail_core.tcpserver.rules_database import compile_rules, find_rule
from tests.integration.smtpd.test_sessions import read_all, until
from tests.support.name_server import NameServer
from tests.support.smtp_servers import Home, Resident, blocking_server

TWICE = b"MAIL FROM:<a@b>\r\nRCPT TO:<j@ours.test>\r\nRSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<k@ours.test>\r\n"
TALK = b"HELO c\r\n" + TWICE + b"QUIT\r\n"
TAKEN = b"220 mx.test ESMTP\r\n250 mx.test\r\n250 ok\r\n250 ok\r\n250 flushed\r\n250 ok\r\n250 ok\r\n221 mx.test\r\n"
USUAL = b"554 sorry, your address 127.0.0.1 is listed at black.test (#5.7.1)"


@pytest.fixture
def server() -> Iterator[NameServer]:
    records = {"black.test": ["127.0.0.2"], "white.test": ["127.0.0.9"], "gone.test": ["192.0.2.1"]}
    with NameServer({(f"1.0.0.127.{zone}", "A"): answers for zone, answers in records.items()}) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


class BothServers:
    """The same conversation with both servers."""

    def __init__(self, home: Home, names: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.names = names
        waiting = resolver.BlockingResolver
        monkeypatch.setattr(
            resolver, "BlockingResolver", lambda timeout_s: waiting(["127.0.0.1"], names.port, timeout_s)
        )

    def say(self, talk: bytes = TALK, **environ: str) -> bytes:
        """What both of them answer, and the same."""
        with Resident(self.home, **environ) as server:
            server.settings.name_servers = (["127.0.0.1"], self.names.port)
            with server.connect() as client:
                first = _spoken(client, talk)
        with blocking_server(self.home, **environ) as (client, _):
            second = _spoken(client, talk)
        assert first == second
        return first


def _spoken(client: socket.socket, talk: bytes) -> bytes:
    if talk:  # a client without rights may be disconnected before its first command
        client.sendall(talk)
    return read_all(client)


@pytest.fixture
def both(home: Home, server: NameServer, monkeypatch: pytest.MonkeyPatch) -> BothServers:
    return BothServers(home, server, monkeypatch)


def test_a_listed_client_is_refused_at_each_recipient(both: BothServers, capfd: pytest.CaptureFixture[str]) -> None:
    both.home.write("dnsbl", "other.test\nblack.test\n")
    assert both.say() == TAKEN.replace(b"250 ok\r\n250 flushed", USUAL + b"\r\n250 flushed").replace(
        b"250 ok\r\n221", USUAL + b"\r\n221"
    )
    lines = capfd.readouterr().err.splitlines()
    assert lines.count("qmail-smtpd: blocklisted (black.test): a@b from 127.0.0.1 to j@ours.test helo c") == 2
    assert both.names.asked.count(("1.0.0.127.black.test", "A", "udp")) == 2


@pytest.mark.parametrize(
    ("dnsbl", "dnswl"),
    [
        ("black.test =127.0.0.3\n", ""),
        ("black.test\n", "white.test\n"),
        ("gone.test\n", ""),
        ("servfail.test\nnowhere.test\n", ""),
        ("not a list =\n=1\n", ""),
    ],
)
def test_an_unlisted_client_is_not_refused(both: BothServers, dnsbl: str, dnswl: str) -> None:
    both.home.write("dnsbl", dnsbl)
    both.home.write("dnswl", dnswl)
    assert both.say() == TAKEN


def test_the_text_can_be_configured(both: BothServers) -> None:
    both.home.write("dnsbl", "black.test =127.0.0.2/32 see https://black.test/?%i\n")
    assert b"554 see https://black.test/?127.0.0.1 (#5.7.1)\r\n" in both.say()


def test_a_listed_client_may_be_disconnected_at_once(both: BothServers, capfd: pytest.CaptureFixture[str]) -> None:
    both.home.write("dnsbl", "black.test\n")
    both.home.write("dnsblat", "greeting\n")
    assert both.say(b"") == USUAL + b"\r\n"
    assert capfd.readouterr().err.count("blocklisted (black.test): (null) from 127.0.0.1") == 2


def test_a_listing_may_be_logged_only(both: BothServers, capfd: pytest.CaptureFixture[str]) -> None:
    both.home.write("dnsbl", "black.test\n")
    both.home.write("dnsblat", "log\n")
    assert both.say() == TAKEN
    assert capfd.readouterr().err.count("blocklisted (black.test): a@b from 127.0.0.1 to j@ours.test") == 2


@pytest.mark.parametrize("variable", ["RELAYCLIENT", "NODNSBL"])
def test_exempt_clients_are_not_looked_up(both: BothServers, variable: str) -> None:
    both.home.write("dnsbl", "black.test\n")
    both.home.write("dnsblat", "greeting\n")
    assert both.say(**{variable: ""}) == TAKEN
    assert not both.names.asked


def test_a_rule_may_exempt_a_client(home: Home, server: NameServer, tmp_path: Path) -> None:
    home.write("dnsbl", "black.test\n")
    rules = str(tmp_path / "rules.cdb")
    compile_rules(rules, f"{rules}.tmp", [b"127.0.0.1:allow,NODNSBL=''"])
    with Resident(home) as running:
        running.settings.name_servers = (["127.0.0.1"], server.port)
        running.settings.rule_for = lambda ip: find_rule(rules, ip, None, None)
        with running.connect() as client:
            client.sendall(TALK)
            assert read_all(client) == TAKEN
    assert not server.asked


def test_the_service_asks_before_the_answer_is_needed(home: Home, server: NameServer) -> None:
    home.write("dnsbl", "black.test\n")
    with Resident(home) as running:
        running.settings.name_servers = (["127.0.0.1"], server.port)
        with running.connect() as client:
            assert client.recv(100).startswith(b"220")
            until(lambda: server.asked)


def test_a_silent_name_server_costs_a_client_nothing_but_time(
    home: Home, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eqmail_core.smtpd.server import context as smtp_context

    monkeypatch.setattr(smtp_context, "CLIENT_TIMEOUT_S", 0.3)
    server.zone[("1.0.0.127.silent.test", "A")] = ["127.0.0.2"]
    home.write("dnsbl", "silent.test\n")
    monkeypatch.setattr(server, "_answer", lambda data, by: b"")
    with Resident(home) as running:
        running.settings.name_servers = (["127.0.0.1"], server.port)
        with running.connect() as client:
            client.sendall(TALK)
            assert read_all(client) == TAKEN


def test_a_client_that_disconnects_during_its_lookup_leaves_nothing(home: Home, server: NameServer) -> None:
    home.write("dnsbl", "black.test\n")
    home.write("dnsblat", "greeting\n")
    with Resident(home) as running:
        running.settings.name_servers = (["127.0.0.1"], server.port)
        for _ in range(5):
            socket.create_connection(("127.0.0.1", running.port)).close()
        until(lambda: not running.context.sessions and not running.context._dns)
