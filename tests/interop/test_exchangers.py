"""Exchangers of a domain from a real name server: NSD with its own zone on loopback."""

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest

from eqmail_core.dns import resolver
from tests.support.foreign_servers import unpacked
from tests.support.mail_system import free_port, until
from tests.support.name_server import NameServer
from tests.support.remote_harness import RemoteHome
from tests.support.scripted_server import PIPELINING, ScriptedServer

pytestmark = [pytest.mark.slow, pytest.mark.root]

ZONE = """$ORIGIN test.
$TTL 60
@ SOA ns.test. root.test. 1 60 60 60 60
@ NS ns
ns A 127.0.0.1
good A 127.0.0.2
dead A 127.0.0.5
self A 127.0.0.1
alias CNAME good
one MX 10 good
two MX 10 dead
two MX 20 good
equal MX 10 dead
equal MX 10 good
only-a A 127.0.0.2
null MX 0 .
renamed CNAME one
to-alias MX 10 alias
to-ip MX 10 127.0.0.2.test.
nothing TXT "no mail here"
loop MX 10 self
loop MX 20 good
behind MX 10 good
behind MX 20 self
aaaa AAAA ::1
""" + "".join(f"big MX {number} a-rather-long-name-of-an-exchanger-number-{number}.big\n" for number in range(100, 160))
ZONE += "big MX 10 good\n"


class NsdServer:
    """A running NSD with the interface of NameServer."""

    def __init__(self) -> None:
        self.port = free_port()


@contextmanager
def nsd(address: str, port: int, zone: str) -> Iterator[None]:
    """NSD for the zone `test`; without a `zone` it cannot load it, and fails."""
    with tempfile.TemporaryDirectory(prefix="eqmail-nsd-", dir="/tmp") as name:
        folder = Path(name)
        if zone:
            (folder / "test.zone").write_text(zone)
        (folder / "nsd.conf").write_text(
            f'server:\n ip-address: {address}@{port}\n username: ""\n chroot: ""\n zonesdir: "{folder}"\n'
            f' pidfile: "{folder}/pid"\n database: ""\n xfrdfile: "{folder}/xfrd"\n zonelistfile: "{folder}/list"\n'
            f' logfile: "{folder}/log"\n server-count: 1\n xfrdir: "{folder}"\n'
            f'remote-control:\n control-enable: no\nzone:\n name: "test"\n zonefile: "test.zone"\n'
        )
        command: list[str | Path] = [unpacked("nsd") / "usr/sbin/nsd", "-d", "-c", folder / "nsd.conf"]
        with (
            open(folder / "output", "wb") as output,
            subprocess.Popen(command, stdout=output, stderr=output) as process,
        ):

            def answers() -> bool:
                assert process.poll() is None, (folder / "output").read_text()
                try:
                    answer = dns.query.udp(dns.message.make_query("one.test", "MX"), address, 1, port)
                except (OSError, dns.exception.DNSException):
                    return False
                return answer.rcode() == (dns.rcode.NOERROR if zone else dns.rcode.SERVFAIL)

            try:
                until(answers, "an answer of NSD")
                yield
            finally:
                process.terminate()


@pytest.fixture(scope="module")
def names() -> Iterator[NsdServer]:
    it = NsdServer()
    with nsd("127.0.0.1", it.port, ZONE):
        yield it


@pytest.fixture
def other(request: pytest.FixtureRequest, names: NsdServer) -> Iterator[None]:
    """A useless name server at 127.0.0.9: it fails, is silent, or does not exist."""
    if request.param == "failing":
        with nsd("127.0.0.9", names.port, ""):
            yield
    elif request.param == "silent":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.9", names.port))
            yield
    else:
        yield


@pytest.fixture
def home(tmp_path: Path, names: NsdServer) -> Iterator[RemoteHome]:
    it = RemoteHome(tmp_path / "home", cast(NameServer, names))
    # However busy the machine is, NSD answers within this.
    it.dns_timeout_s = 30.0
    yield it
    os.close(it.message)


@pytest.mark.parametrize(
    "host", [b"one", b"two", b"equal", b"only-a", b"renamed", b"to-alias", b"big", b"behind", b"alias"]
)
def test_exchangers_are_found(host: bytes, home: RemoteHome) -> None:
    with ScriptedServer(PIPELINING, host="127.0.0.2") as server:
        home.control("smtproutes", f"::{server.port}")
        assert home.deliver(b"r@%b.test" % host)[0][0] == b"K"
        assert server.messages == 1


@pytest.mark.parametrize(
    ("host", "report"),
    [
        (b"null.test", (b"D", b"Sorry, null.test does not accept mail. (#5.1.10)\n")),
        (b"absent.test", (b"D", b"Sorry, I couldn't find any host named absent.test. (#5.1.2)\n")),
        (b"nothing.test", (b"D", b"Sorry, I couldn't find any host named nothing.test. (#5.1.2)\n")),
        (b"to-ip.test", (b"D", b"Sorry, I couldn't find a mail exchanger or IP address. (#5.4.4)\n")),
        (b"refused.example", (b"Z", b"CNAME lookup failed temporarily. (#4.4.3)\n")),
    ],
)
def test_hosts_without_exchangers_are_reported(host: bytes, report: tuple[bytes, bytes], home: RemoteHome) -> None:
    assert home.deliver(b"r@" + host) == [report]


@pytest.mark.parametrize("other", ["failing", "silent", "absent"], indirect=True)
def test_one_name_server_of_two_is_enough(other: None, home: RemoteHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "TRY_S", 0.5)
    home.name_servers, home.dns_timeout_s = ["127.0.0.9", "127.0.0.1"], 20.0
    with ScriptedServer(PIPELINING, host="127.0.0.2") as server:
        home.control("smtproutes", f"::{server.port}")
        assert [report[0] for report in home.deliver(b"r@one.test", b"r@two.test")] == [b"K", b"K"]
        assert server.messages == 2
        assert home.deliver(b"r@absent.test")[0][0] == b"D"


@pytest.mark.parametrize("other", ["failing", "silent", "absent"], indirect=True)
def test_mail_waits_while_no_name_server_is_of_use(
    other: None, home: RemoteHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "TRY_S", 0.2)
    home.name_servers, home.dns_timeout_s = ["127.0.0.9", "127.0.0.8"], 1.0
    assert home.deliver(b"r@one.test") == [(b"Z", b"CNAME lookup failed temporarily. (#4.4.3)\n")]
    home.control("smtproutes", ":one.test")
    sorry = b"Sorry, I couldn't find any host by that name. (#4.1.2)\n"
    assert home.deliver(b"r@one.test") == [(b"Z", sorry)]


def test_a_loop_is_found(home: RemoteHome) -> None:
    ((letter, text),) = home.deliver(b"r@loop.test")
    assert (letter, text[:45]) == (b"D", b"Sorry. Although I'm listed as a best-preferen")
