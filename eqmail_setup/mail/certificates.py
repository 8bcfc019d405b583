"""The key and the certificate of the SMTP server: one file, which its account alone can read.

A self-signed certificate is enough for mail from other servers, which do not verify it; mail programs of users
want one of a public authority in its place. Time comes from the caller.

Fails: ValueError for a text that holds no certificate; Refusal for what cannot be done with one.
Source: control-files.md (servercert.pem); RFC 5280; RFC 6698 and 7672 (TLSA 3 1 1).
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from eqmail_core.control.controls import Controls
from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.manifest import server_secret_permissions
from eqmail_setup.installation.manifest_nodes import PathKind
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.operations import WriteFile
from eqmail_setup.transaction.plan import Change

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

ECDSA, RSA = "ecdsa", "rsa"
KEY_TYPES = (ECDSA, RSA)
DEFAULT_DAYS = 730
RSA_BITS = 2048
# Clocks differ: what is valid from now on is not yet valid for some.
_HEAD_START = timedelta(hours=1)
_LONGEST_COMMON_NAME = 64

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Certificate(NamedTuple):
    """What people want to know of a certificate; `tlsa` is the digest of its public key, in hexadecimal digits."""

    names: tuple[str, ...]
    issuer: str
    is_self_signed: bool
    kind: str
    begins: datetime
    ends: datetime
    fingerprint: str
    tlsa: str


def new_key(kind: str) -> Key:
    """A fresh key."""
    if kind == RSA:
        return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    return ec.generate_private_key(ec.SECP256R1())


def key_in(pem: bytes) -> Key:
    """The private key of a file that also holds certificates."""
    start = pem.find(b"-----BEGIN", max(pem.find(b"PRIVATE KEY") - 40, 0))
    key = serialization.load_pem_private_key(pem[max(start, 0) :], None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("a key of another kind than ECDSA or RSA")
    return key


def self_signed(key: Key, names: Sequence[str], now: datetime, days: int) -> bytes:
    """The file: a certificate for these host names, the first one foremost, and its key."""
    common = [x509.NameAttribute(NameOID.COMMON_NAME, names[0])] if len(names[0]) <= _LONGEST_COMMON_NAME else []
    name = x509.Name(common)
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _HEAD_START)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(item) for item in names]), critical=not common)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM) + secret


def read(pem: bytes) -> Certificate:
    """The first certificate of a file."""
    found = x509.load_pem_x509_certificate(pem)
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        listed = tuple(names.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        attributes = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        listed = tuple(str(attribute.value) for attribute in attributes)
    public = found.public_key()
    kind = (
        ECDSA if isinstance(public, ec.EllipticCurvePublicKey) else RSA if isinstance(public, rsa.RSAPublicKey) else "?"
    )
    return Certificate(
        names=listed,
        issuer=found.issuer.rfc4514_string(),
        is_self_signed=found.issuer == found.subject,
        kind=kind,
        begins=found.not_valid_before_utc,
        ends=found.not_valid_after_utc,
        fingerprint=found.fingerprint(hashes.SHA256()).hex(":").upper(),
        tlsa=hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest(),
    )


def tlsa_of(key: Key) -> str:
    """The digest of a key in a TLSA record 3 1 1."""
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest()


def path_in(site: Site) -> str:
    """The file, relative to the home."""
    return f"{site.layout.control}/{Controls.servercert.file}"


def plan_new_certificate(
    site: Site, filesystem: Filesystem, names: Sequence[str], kind: str, days: int, replace: bool
) -> list[Change]:
    """Actions after which there is a certificate for these names, with a new key.

    Fails: Refusal, unless `replace`, where there is one.
    """
    state = snapshot(path_in(site), filesystem)
    if state is not None and not replace:
        show = filesystem.display_path(path_in(site))
        raise EqmailError(
            f"{show}: is there already; --replace makes another one, eqmail cert renew makes it last longer"
        )
    return [_plan_write(site, filesystem, self_signed(new_key(kind), names, datetime.now(UTC), days))]


def plan_renewal(
    site: Site, filesystem: Filesystem, days: int, within_days: int, other_key: "Key | None"
) -> list[Change]:
    """Actions after which the certificate lasts; none while it is valid longer than `within_days`.

    Its names stay, and so does its key, to which TLSA records and people may hold on, unless there is `other_key`.
    Fails: Refusal if there is none, or if an authority made it.
    """
    show, state = filesystem.display_path(path_in(site)), snapshot(path_in(site), filesystem)
    if state is None:
        raise EqmailError(f"{show}: missing; make one: eqmail cert make")
    try:
        old, key = read(state.content), key_in(state.content)
    except (ValueError, TypeError) as error:
        raise EqmailError(f"{show}: cannot be renewed ({error}); make another: eqmail cert make --replace") from error
    if not old.is_self_signed:
        raise EqmailError(f"{show}: was issued by {old.issuer}, which has to renew it")
    now = datetime.now(UTC)
    if old.ends - now > timedelta(days=within_days):
        return []
    return [_plan_write(site, filesystem, self_signed(other_key or key, old.names, now, days))]


def installing(site: Site, filesystem: Filesystem, chain: bytes, key: bytes, now: datetime) -> list[Change]:
    """Actions after which the server shows this chain, the certificate of this host first, with its key.

    Fails: Refusal for what no client would take: another key, a broken chain, a certificate that is over.
    """
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError as error:
        raise usage_error("CHAIN: holds no certificate that can be read; it is a PEM file") from error
    secret = _private_key(key, "KEY")
    publics = [_public(certificate.public_key()) for certificate in certificates]
    if _public(secret.public_key()) not in publics:
        raise usage_error("KEY: is not the key of a certificate in CHAIN; both have to come from one request")
    if _public(secret.public_key()) != publics[0]:
        raise usage_error("CHAIN: does not begin with the certificate of KEY; that of the host comes first")
    for above, issuer in pairwise(certificates):
        if above.issuer != issuer.subject:
            raise usage_error(f"CHAIN: {_shown(issuer)} did not issue {_shown(above)}, which stands before it")
    if certificates[0].not_valid_after_utc < now:
        raise usage_error(f"CHAIN: {_shown(certificates[0])} expired on {certificates[0].not_valid_after_utc:%Y-%m-%d}")
    parts = [certificate.public_bytes(Encoding.PEM) for certificate in certificates]
    parts.append(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    content = b"".join(parts)
    state = snapshot(path_in(site), filesystem)
    return [] if state is not None and state.content == content else [_plan_write(site, filesystem, content)]


def pair_trouble(pem: bytes) -> str:
    """Why the first certificate and the key of a file do not belong together, "" where they do."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        secret = _private_key(pem, "its key")
    except ValueError:
        return "holds no certificate"
    except EqmailError as refusal:
        return refusal.text
    if _public(secret.public_key()) == _public(certificate.public_key()):
        return ""
    return "its key is not that of its first certificate"


def _private_key(pem: bytes, what: str) -> "PrivateKeyTypes":
    """The private key of a text that may hold certificates, too.  Fails: Refusal, which holds nothing of it."""
    start = pem.find(b"-----BEGIN", max(pem.find(b"PRIVATE KEY") - 40, 0))
    try:
        return serialization.load_pem_private_key(pem[max(start, 0) :], None)
    except TypeError as error:
        raise usage_error(f"{what}: encrypted; decrypt it with openssl pkey") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise usage_error(f"{what}: is no private key that can be read; it is a PEM file") from error


def _public(key: "PublicKeyTypes") -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _shown(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"the certificate number {certificate.serial_number:x}"


def _plan_write(site: Site, filesystem: Filesystem, content: bytes) -> Change:
    path = path_in(site)
    state = snapshot(path, filesystem)
    permissions = server_secret_permissions(site, caller())
    if (
        state
        and state.kind == PathKind.FILE
        and state.permissions.owner == permissions.owner
        and state.permissions.mode & 0o477 == 0o400
    ):
        permissions = state.permissions
    show = filesystem.display_path(path)
    return Change(
        show, "an old one" if state else "missing", "a new certificate", WriteFile(path, content, permissions)
    )
