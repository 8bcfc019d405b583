"""DANE with other servers: what is sent how, by the resident service and by qmail-remote alike."""

import ssl
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from eqmail_core.ipc.delivery_protocol import DeliveryRequest
from eqmail_core.remote.delivery import RemoteDeliveries
from tests.support.remote_harness import Deliver, RemoteHome
from tests.support.tls_servers import TLS_BEGINS, TlsServer, context_of, write_self_signed

DANE = b"127.0.0.2 accepted message.\nTLS dane: TLSA records of %b.\nRemote host said: 250 queued\n"
PLAIN = (b"K", b"127.0.0.2 accepted message.\nRemote host said: 250 queued\n")
CHAIN = ("one.test", "a.test")


def tlsa_of(pem: bytes) -> str:
    """The record 3 1 1 of a certificate."""
    key = x509.load_pem_x509_certificate(pem).public_key()
    return "3 1 1 " + sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


@pytest.fixture
def expired(tmp_path: Path) -> tuple[ssl.SSLContext, str]:
    """A server's certificate that no authority signed, for another name; and its record."""
    context = write_self_signed(tmp_path / "self.pem", "someone.test")
    return context, tlsa_of((tmp_path / "self.pem").read_bytes())


class SignedZone:
    """The zone of the name server, with records for the test's port, and names that are signed."""

    def __init__(self, home: RemoteHome) -> None:
        self.home = home
        self.names = home.names

    def publish(self, server: TlsServer, host: str, *records: str, signed: tuple[str, ...] = CHAIN) -> None:
        self.home.control("smtproutes", f"::{server.port}")
        name = f"_{server.port}._tcp.{host}"
        self.names.zone[name, "TLSA"] = list(records)
        self.names.signed = {name, *signed}


@pytest.fixture
def zone(remote_home: RemoteHome, monkeypatch: pytest.MonkeyPatch) -> Iterator[SignedZone]:
    monkeypatch.setattr(remote_home.names, "zone", dict(remote_home.names.zone))
    monkeypatch.setattr(remote_home.names, "signed", set())
    yield SignedZone(remote_home)


def test_a_matching_certificate_is_reported_with_its_reason(
    deliver: Deliver, zone: SignedZone, expired: tuple[ssl.SSLContext, str]
) -> None:
    context, record = expired
    with TlsServer(context) as server:
        zone.publish(server, "a.test", record)
        assert deliver(b"r@one.test") == (b"K", DANE % b"a.test")


def test_another_certificate_is_not_trusted(
    deliver: Deliver, zone: SignedZone, expired: tuple[ssl.SSLContext, str]
) -> None:
    with TlsServer(expired[0]) as server:
        zone.publish(server, "a.test", "3 1 1 " + "00" * 32)
        letter, text = deliver(b"r@one.test")
        assert letter == b"Z"
        assert b"TLS unable to verify server a.test: no TLSA record matches its certificate; connected to" in text
        assert b"MAIL" not in b"".join(server.received)


def test_a_server_without_starttls_gets_nothing(deliver: Deliver, zone: SignedZone) -> None:
    with TlsServer(None, {"ehlo": "250 plain"}) as server:
        zone.publish(server, "a.test", "3 1 1 " + "00" * 32)
        letter, text = deliver(b"r@one.test")
        assert letter == b"Z"
        assert b"No TLS achieved while required by TLSA records of a.test; connecting to 127.0.0.2." in text
        assert b"MAIL" not in b"".join(server.received)


def test_a_broken_handshake_is_not_followed_by_plain_text(
    deliver: Deliver, zone: SignedZone, remote_home: RemoteHome
) -> None:
    remote_home.control("tlsfallback", "1")
    with TlsServer(None) as server:
        zone.publish(server, "a.test", "3 1 1 " + "00" * 32)
        assert deliver(b"r@one.test")[0] == b"Z"
        assert len(server.received) == 1


def test_unusable_records_demand_tls_with_any_certificate(
    deliver: Deliver, zone: SignedZone, expired: tuple[ssl.SSLContext, str]
) -> None:
    with TlsServer(expired[0]) as server:
        zone.publish(server, "a.test", "1 1 1 " + "00" * 32)
        letter, text = deliver(b"r@one.test")
        assert (letter, b"TLS encrypted: TLSA records of a.test, none usable.\n" in text) == (b"K", True)
    with TlsServer(None, {"ehlo": "250 plain"}) as server:
        zone.publish(server, "a.test", "1 1 1 " + "00" * 32)
        assert deliver(b"r@one.test")[0] == b"Z"


@pytest.mark.parametrize("signed", [(), ("one.test",)])
def test_records_below_an_unsigned_address_are_not_even_asked_for(
    deliver: Deliver, zone: SignedZone, expired: tuple[ssl.SSLContext, str], signed: tuple[str, ...]
) -> None:
    with TlsServer(expired[0]) as server:
        zone.publish(server, "a.test", "3 1 1 " + "00" * 32, signed=signed)
        zone.names.asked.clear()
        assert deliver(b"r@one.test") == PLAIN
        assert "TLSA" not in {kind for _, kind, _ in zone.names.asked}
        assert TLS_BEGINS in server.received[0]


def test_unsigned_exchangers_of_a_signed_host_are_matched_too(
    deliver: Deliver, zone: SignedZone, expired: tuple[ssl.SSLContext, str]
) -> None:
    with TlsServer(expired[0]) as server:
        zone.publish(server, "a.test", "3 1 1 " + "00" * 32, signed=("a.test",))
        assert deliver(b"r@one.test")[0] == b"Z"


def test_a_resolver_that_is_not_trusted_changes_nothing(
    deliver: Deliver, zone: SignedZone, remote_home: RemoteHome, expired: tuple[ssl.SSLContext, str]
) -> None:
    remote_home.control("dnssec", "off")
    with TlsServer(expired[0]) as server:
        zone.publish(server, "a.test", "3 1 1 " + "00" * 32)
        assert deliver(b"r@one.test") == PLAIN
    remote_home.control("dnssec", "127.0.0.1")
    with TlsServer(expired[0]) as server:
        zone.publish(server, "a.test", expired[1])
        assert deliver(b"r@one.test") == (b"K", DANE % b"a.test")


def test_records_that_cannot_be_looked_up_defer(
    deliver: Deliver, zone: SignedZone, expired: tuple[ssl.SSLContext, str]
) -> None:
    with TlsServer(expired[0]) as server:
        zone.publish(server, "a.test", "3 1 1 " + "00" * 32)
        zone.names.failing = {f"_{server.port}._tcp.a.test"}
        letter, text = deliver(b"r@one.test")
        zone.names.failing = set()
        assert letter == b"Z"
        assert b"a.test 127.0.0.2 port %d: its TLSA records cannot be looked up" % server.port in text
        assert not server.received


def test_the_next_exchanger_is_tried(
    deliver: Deliver, zone: SignedZone, remote_home: RemoteHome, expired: tuple[ssl.SSLContext, str]
) -> None:
    zone.names.zone["two.test", "MX"] = ["10 bad.test.", "20 a.test."]
    zone.names.zone["bad.test", "A"] = ["127.0.0.3"]
    with TlsServer(expired[0]) as server, TlsServer(expired[0], host="127.0.0.3", port=server.port) as bad:
        zone.publish(server, "a.test", expired[1])
        wrong = f"_{server.port}._tcp.bad.test"
        zone.names.zone[wrong, "TLSA"] = ["3 1 1 " + "00" * 32]
        zone.names.signed |= {"two.test", "bad.test", wrong}
        assert deliver(b"r@two.test") == (b"K", DANE % b"a.test")
        assert len(bad.received) == 1


@pytest.mark.parametrize(
    ("base", "signed"), [("a.test", ("alias-mx.test", "alias.test", "a.test")), ("alias.test", ("alias.test",))]
)
def test_aliases_are_followed_as_far_as_they_are_signed(
    deliver: Deliver, zone: SignedZone, expired: tuple[ssl.SSLContext, str], base: str, signed: tuple[str, ...]
) -> None:
    with TlsServer(expired[0]) as server:
        zone.publish(server, base, expired[1], signed=signed)
        assert deliver(b"r@alias-mx.test") == (b"K", DANE % base.encode())


def test_an_authority_vouches_for_names_of_the_server_and_the_domain(
    deliver: Deliver, zone: SignedZone, remote_home: RemoteHome
) -> None:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    record = "2 1 1 " + tlsa_of(authority.cert_pem.bytes())[6:]
    for name, expected in (("a.test", b"K"), ("one.test", b"K"), ("other.test", b"Z")):
        certificate = authority.issue_cert(name, key_type=trustme.KeyType.ECDSA)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        whole = remote_home.home / "whole.pem"
        pems = [certificate.private_key_pem, *certificate.cert_chain_pems, authority.cert_pem]
        whole.write_bytes(b"".join(it.bytes() for it in pems))
        context.load_cert_chain(whole)
        with TlsServer(context) as server:
            zone.publish(server, "a.test", record)
            assert deliver(b"r@one.test")[0] == expected, name


def test_a_sender_may_ask_for_delivery_all_the_same(
    deliver: Deliver, zone: SignedZone, remote_home: RemoteHome, expired: tuple[ssl.SSLContext, str]
) -> None:
    remote_home.write_message(b"Subject: your TLSA record\ntls-required: no\n\nis wrong\n")
    with TlsServer(expired[0]) as server:
        zone.publish(server, "a.test", "3 1 1 " + "00" * 32)
        letter, text = deliver(b"r@one.test")
        assert (letter, b"TLS opportunistic: the message says TLS-Required: No.\n" in text) == (b"K", True)
    remote_home.write_message(b"Subject: x\n\nTLS-Required: No\n")
    with TlsServer(expired[0]) as server:
        zone.publish(server, "a.test", "3 1 1 " + "00" * 32)
        assert deliver(b"r@one.test")[0] == b"Z"


def test_hundreds_of_records_are_bounded(
    deliver: Deliver, zone: SignedZone, expired: tuple[ssl.SSLContext, str]
) -> None:
    with TlsServer(expired[0]) as server:
        zone.publish(server, "a.test", *[f"3 1 1 {number:064x}" for number in range(900)])
        letter, text = deliver(b"r@one.test")
        assert (letter, len(text) < 1000) == (b"Z", True)


def test_a_file_of_the_administrator_comes_first(deliver: Deliver, zone: SignedZone, remote_home: RemoteHome) -> None:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    folder = remote_home.home / "control/tlshosts"
    folder.mkdir()
    (folder / "a.test.pem").write_bytes(authority.cert_pem.bytes())
    with TlsServer(context_of(authority.issue_cert("a.test", key_type=trustme.KeyType.ECDSA))) as server:
        zone.publish(server, "a.test", "3 1 1 " + "00" * 32)
        assert deliver(b"r@one.test") == PLAIN


def resumed(remote_home: RemoteHome, zone: SignedZone, context: ssl.SSLContext, *records: str) -> list[bool | None]:
    """Deliver once with each record to the same server; whether each session was resumed."""
    remote_home.control("remotereuse", "0")
    outcomes: list[bool | None] = []
    with TlsServer(context, *[{} for _ in records]) as server:
        for record in records:
            zone.publish(server, "a.test", record)

        async def scenario(deliveries: RemoteDeliveries) -> None:
            for number, record in enumerate(records):
                zone.publish(server, "a.test", record)
                deliveries.resolver.configure()
                request = DeliveryRequest(number, 1, b"", b"s@x.test", b"r@one.test", b"")
                result = await deliveries.deliver(request, remote_home.message)
                outcomes.append(server.secured[-1].session_reused if result.outcome == b"K" else None)

        remote_home.run(scenario)
    return outcomes


def test_a_tls_session_is_resumed_with_the_same_records_alone(
    remote_home: RemoteHome, zone: SignedZone, expired: tuple[ssl.SSLContext, str]
) -> None:
    context, record = expired
    other = "3 1 2 " + "00" * 64
    assert resumed(remote_home, zone, context, record, record) == [False, True]
    # Never across levels, and a session with a server that failed is not kept.
    assert resumed(remote_home, zone, context, "1 1 1 " + "00" * 32, record, record) == [False, False, True]
    assert resumed(remote_home, zone, context, other, record) == [None, False]


OFFERS = {"secured": "250-fake\n250 REQUIRETLS"}


def require(home: RemoteHome) -> tuple[bytes, bytes]:
    return home.deliver(b"r@one.test", dsn=b"W T")[0]


def test_requiretls_goes_to_a_proved_server_that_offers_it(
    remote_home: RemoteHome, zone: SignedZone, expired: tuple[ssl.SSLContext, str]
) -> None:
    with TlsServer(expired[0], OFFERS) as server:
        zone.publish(server, "a.test", expired[1])
        assert require(remote_home) == (b"K", DANE % b"a.test")
        assert b"MAIL FROM:<s@x.test> REQUIRETLS\r\n" in server.received[0]


def test_requiretls_comes_back_from_a_server_that_does_not_offer_it(
    remote_home: RemoteHome, zone: SignedZone, expired: tuple[ssl.SSLContext, str]
) -> None:
    with TlsServer(expired[0], {"ehlo": "250-x\n250-STARTTLS\n250 REQUIRETLS", "secured": "250 fake"}) as server:
        zone.publish(server, "a.test", expired[1])
        letter, text = require(remote_home)
        assert (letter, text.endswith(b"(#5.7.30)\n"), b"does not offer REQUIRETLS" in text) == (b"D", True, True)
        assert b"MAIL" not in server.received[0]


def test_requiretls_comes_back_if_nothing_proves_the_exchanger(
    remote_home: RemoteHome, zone: SignedZone, expired: tuple[ssl.SSLContext, str]
) -> None:
    remote_home.write_message(b"TLS-Required: No\n\nREQUIRETLS counts more\n")
    with TlsServer(expired[0], OFFERS) as server:
        zone.publish(server, "a.test", expired[1], signed=("a.test",))
        letter, text = require(remote_home)
        assert (letter, b"neither DNSSEC nor MTA-STS proves that it serves one.test" in text) == (b"D", True)
        assert not server.received


def test_requiretls_waits_for_a_server_whose_certificate_is_wrong_or_that_is_away(
    remote_home: RemoteHome, zone: SignedZone, expired: tuple[ssl.SSLContext, str]
) -> None:
    with TlsServer(expired[0], OFFERS) as server:
        zone.publish(server, "a.test", "3 1 1 " + "00" * 32)
        assert require(remote_home)[0] == b"Z"
        # Without TLSA records an authority of the system must vouch for the name.
        zone.publish(server, "b.test", expired[1])
        letter, text = require(remote_home)
        assert letter == b"Z"
        assert b"TLS unable to verify server with the authorities of the system: " in text
    zone.publish(server, "a.test", expired[1])
    assert require(remote_home)[0] == b"Z"


def test_an_authority_of_the_system_vouches_for_an_exchanger_without_records(
    remote_home: RemoteHome, zone: SignedZone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    authority.cert_pem.write_to_path(tmp_path / "roots.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    for name, expected in (("a.test", b"K"), ("one.test", b"Z")):
        certificate = authority.issue_cert(name, key_type=trustme.KeyType.ECDSA)
        with TlsServer(context_of(certificate), OFFERS) as server:
            zone.publish(server, "b.test", "3 1 1 " + "00" * 32)
            letter, text = require(remote_home)
            assert (letter, b"TLS verified: REQUIRETLS of the sender." in text) == (expected, expected == b"K")


def test_a_program_in_place_of_qmail_remote_gets_no_message_with_requiretls(remote_home: RemoteHome) -> None:
    remote_home.program("mine", "echo Kdelivered; printf '\\0'")
    remote_home.environ = {b"QMAILREMOTE": bytes(remote_home.home / "bin/mine")}
    assert require(remote_home) == (b"D", b"The program in place of qmail-remote knows no REQUIRETLS. (#5.7.30)\n")
