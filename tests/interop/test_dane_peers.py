"""DANE with real servers, a signed zone and a validating resolver; docs/transport-security.md has the table."""

import os
from collections.abc import Iterator
from hashlib import sha256, sha512
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.foreign_servers import ForeignServer
from tests.support.name_server import NameServer
from tests.support.remote_harness import RemoteHome
from tests.support.signed_names import ValidatingResolver, validating_resolver

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(300)]

TLS_SERVERS = ("postfix", "exim")
# As Debian 12 builds it, it offers TLS and cannot use its private key with OpenSSL 3: each handshake fails.
BROKEN_SERVER = "opensmtpd"
WRONG = "3 1 1 " + "00" * 32

ROWS = {
    "good.test": (b"K", b"TLS dane: TLSA records of good.test."),
    "sha512.test": (b"K", b"TLS dane: TLSA records of sha512.test."),
    "whole.test": (b"K", b"TLS dane: TLSA records of whole.test."),
    "one-of-two.test": (b"K", b"TLS dane: TLSA records of one-of-two.test."),
    "bad.test": (b"Z", b"no TLSA record matches its certificate"),
    "unusable.test": (b"K", b"TLS encrypted: TLSA records of unusable.test, none usable."),
    "none.test": (b"K", b""),
    "bogus.test": (b"Z", b"its TLSA records cannot be looked up"),
    "alias.test": (b"K", b"TLS dane: TLSA records of good.test."),
    "alias-own.test": (b"K", b"TLS dane: TLSA records of alias-own.test."),
    "alias-bad.test": (b"Z", b"no TLSA record matches its certificate"),
    "alias-out.test": (b"K", b"TLS dane: TLSA records of alias-out.test."),
    "bad.plain": (b"K", b""),
}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, ForeignServer]]:
    running = {name: ForeignServer(name) for name in (*TLS_SERVERS, BROKEN_SERVER)}
    try:
        for server in running.values():
            server.start()
        yield running
    finally:
        for server in running.values():
            server.stop()


def records_of(server: ForeignServer) -> str:
    """The TLSA records for the port of a server."""
    certificate = x509.load_pem_x509_certificate((server.folder / "cert.pem").read_bytes())
    whole = certificate.public_bytes(Encoding.DER)
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    good = "3 1 1 " + sha256(key).hexdigest()
    published = {
        "good": [good],
        "sha512": ["3 1 2 " + sha512(key).hexdigest()],
        "whole": ["3 0 1 " + sha256(whole).hexdigest()],
        "one-of-two": [WRONG, good],
        "bad": [WRONG],
        "unusable": ["1 1 1 " + "00" * 32],
        "bogus": [good],
        "alias-own": [good],
        "alias-out": [good],
    }
    return "".join(
        f"_{server.port}._tcp.{host} 60 TLSA {record}\n" for host, records in published.items() for record in records
    )


@pytest.fixture(scope="module")
def names(servers: dict[str, ForeignServer]) -> Iterator[ValidatingResolver]:
    hosts = ("good", "sha512", "whole", "one-of-two", "bad", "unusable", "none", "bogus")
    zone = "".join(f"{host} 60 A 127.0.0.1\n" for host in hosts)
    zone += "alias 60 CNAME good\nalias-own 60 CNAME none\nalias-bad 60 CNAME bad\nalias-out 60 CNAME bad.plain.\n"
    zone += "".join(records_of(server) for server in servers.values())
    plain = "bad 60 A 127.0.0.1\n" + "".join(f"_{it.port}._tcp.bad 60 TLSA {WRONG}\n" for it in servers.values())
    bogus = tuple(f"_{it.port}._tcp.bogus.test." for it in servers.values())
    with validating_resolver(zone, plain, bogus) as resolver:
        yield resolver


@pytest.fixture
def home(tmp_path: Path, names: ValidatingResolver) -> Iterator[RemoteHome]:
    it = RemoteHome(tmp_path / "home", cast(NameServer, names))
    it.dns_timeout_s = 60.0
    yield it
    os.close(it.message)


@pytest.mark.parametrize("peer", TLS_SERVERS)
@pytest.mark.parametrize("host", ROWS)
def test_a_server_gets_mail_as_its_records_say(
    peer: str, host: str, home: RemoteHome, servers: dict[str, ForeignServer]
) -> None:
    server = servers[peer]
    home.control("smtproutes", f":{host}:{server.port}")
    (report,) = home.deliver(b"joe@" + server.domain.encode())
    outcome, text = ROWS[host]
    assert (report[0], text in report[1]) == (outcome, True), (report, server.log())
    assert text or b"TLS" not in report[1]


@pytest.mark.parametrize(
    ("host", "outcome"), [("none.test", b"K"), ("bad.plain", b"K"), ("good.test", b"Z"), ("unusable.test", b"Z")]
)
def test_a_server_with_broken_tls_gets_plain_text_where_nothing_demands_tls(
    host: str, outcome: bytes, home: RemoteHome, servers: dict[str, ForeignServer]
) -> None:
    server = servers[BROKEN_SERVER]
    home.control("tlsfallback", "1")
    home.control("smtproutes", f":{host}:{server.port}")
    (report,) = home.deliver(b"joe@" + server.domain.encode())
    assert report[0] == outcome, (report, server.log())
