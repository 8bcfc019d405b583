"""TLSA records against the certificates of a server."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256, sha512

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from eqmail_core.dns.query import TlsaRecord
from eqmail_core.tls.dane import MAX_CHAIN, check_chain, digest_of, usable

NOW = datetime.now(UTC)
NAMES = (b"mx.test",)


def der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def key_of(certificate: bytes) -> bytes:
    key = x509.load_der_x509_certificate(certificate).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


ROOT = trustme.CA(key_type=trustme.KeyType.ECDSA)
BETWEEN = ROOT.create_child_ca(key_type=trustme.KeyType.ECDSA)
LEAF = BETWEEN.issue_cert("mx.test", key_type=trustme.KeyType.ECDSA)
CHAIN = [*[der(it.bytes()) for it in LEAF.cert_chain_pems], der(ROOT.cert_pem.bytes())]
OTHER = der(trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("mx.test").cert_chain_pems[0].bytes())


def record(usage: int, selector: int, kind: int, certificate: bytes) -> TlsaRecord:
    content = key_of(certificate) if selector else certificate
    return usage, selector, kind, [content, sha256(content).digest(), sha512(content).digest()][kind]


def problem(
    records: list[TlsaRecord], chain: list[bytes], names: tuple[bytes, ...] = NAMES, now: datetime = NOW
) -> bytes:
    found, reason = check_chain(usable(records), chain, names, now)
    assert (found is None) == bool(reason)
    return reason


def self_signed(start: datetime, end: datetime, name: str = "whoever") -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, start, end)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("kind", [0, 1, 2])
def test_usage_3_matches_the_server_alone_whatever_its_name_and_date(selector: int, kind: int) -> None:
    old = self_signed(NOW - timedelta(9), NOW - timedelta(8))
    assert problem([record(3, selector, kind, old)], [old], ()) == b""
    assert problem([record(3, selector, kind, CHAIN[0])], CHAIN, (b"other.test",)) == b""
    assert problem([record(3, selector, kind, OTHER)], CHAIN)
    assert problem([record(3, selector, kind, CHAIN[1])], CHAIN)


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("kind", [0, 1, 2])
@pytest.mark.parametrize("place", [1, 2])
def test_usage_2_matches_an_authority_that_vouches_for_the_name(selector: int, kind: int, place: int) -> None:
    records = [record(2, selector, kind, CHAIN[place])]
    assert problem(records, CHAIN) == b""
    assert problem(records, CHAIN, (b"other.test", b"mx.test")) == b""
    assert b"subjectAltName" in problem(records, CHAIN, (b"other.test",))
    assert problem(records, CHAIN, ())
    assert problem(records, CHAIN, ("ü.test".encode(),))
    assert problem(records, CHAIN, NAMES, NOW + timedelta(days=365 * 2000))
    # The authority stands beside a certificate that it did not sign.
    assert problem(records, [OTHER, *CHAIN[1:]])
    assert problem(records, CHAIN[:1])


def test_the_certificate_of_a_server_is_no_authority() -> None:
    assert problem([record(2, 1, 1, CHAIN[0])], CHAIN)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "evil")])
    leaf = x509.load_der_x509_certificate(CHAIN[0])
    builder = x509.CertificateBuilder(leaf.subject, name, key.public_key(), 5, NOW - timedelta(1), NOW + timedelta(1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("mx.test")]), False)
    forged = builder.sign(LEAF_KEY, hashes.SHA256()).public_bytes(Encoding.DER)
    for place in (1, 2):
        assert b"basicConstraints" in problem([record(2, 0, 1, CHAIN[place])], [forged, *CHAIN])


def _leaf_key() -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(LEAF.private_key_pem.bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


LEAF_KEY = _leaf_key()


def test_one_matching_record_of_several_is_enough() -> None:
    assert problem([record(3, 1, 1, OTHER), record(3, 0, 2, CHAIN[0])], CHAIN) == b""
    assert problem([record(3, 1, 1, OTHER), record(2, 0, 1, CHAIN[2])], CHAIN) == b""


def test_of_several_digests_the_strongest_counts() -> None:
    weak, strong = record(3, 1, 1, CHAIN[0]), record(3, 1, 2, OTHER)
    assert usable([weak, strong]) == (strong,)
    assert usable([weak, record(3, 0, 2, OTHER)]) == (record(3, 0, 2, OTHER), weak)
    assert usable([weak, record(3, 1, 0, OTHER)])[1] == weak


@pytest.mark.parametrize(
    "record",
    [
        (0, 1, 1, b"x" * 32),
        (1, 1, 1, b"x" * 32),
        (4, 1, 1, b"x" * 32),
        (255, 1, 1, b"x" * 32),
        (3, 2, 1, b"x" * 32),
        (3, 1, 3, b"x" * 32),
        (3, 1, 1, b"x" * 31),
        (3, 1, 2, b"x" * 32),
        (3, 1, 0, b""),
    ],
)
def test_other_records_are_unusable(record: TlsaRecord) -> None:
    assert usable([record]) == ()
    assert usable([record, (3, 1, 1, b"y" * 32)]) == ((3, 1, 1, b"y" * 32),)


@pytest.mark.parametrize("chain", [[], [b""], [b"garbage"], [b"\x30\x82" * 100, b"more"]])
def test_certificates_that_cannot_be_read_match_nothing(chain: list[bytes]) -> None:
    records = [record(usage, selector, kind, CHAIN[0]) for usage in (2, 3) for selector in (0, 1) for kind in (0, 1)]
    assert problem(records, chain)


def test_a_chain_without_end_is_looked_at_up_to_a_limit() -> None:
    long = [CHAIN[0], *[CHAIN[1]] * 5000, CHAIN[2]]
    assert problem([record(2, 1, 1, CHAIN[2])], long)
    short = [CHAIN[0], *[CHAIN[1]] * (MAX_CHAIN - 2), CHAIN[2]]
    assert problem([record(2, 1, 1, CHAIN[2])], short) == b""


def test_a_digest_differs_with_each_record() -> None:
    sets = [[], [(3, 1, 1, b"x")], [(3, 1, 1, b"y")], [(3, 1, 1, b"x"), (3, 1, 1, b"y")], [(2, 1, 1, b"x")]]
    assert len({digest_of(it) for it in sets}) == len(sets)
    assert digest_of(sets[3]) == digest_of(sets[3][::-1])
