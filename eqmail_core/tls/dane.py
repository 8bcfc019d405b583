"""Match the certificates of a mail server against its TLSA records (DANE).

Usages 2 (DANE-TA) and 3 (DANE-EE) count; 0 and 1 are unusable with SMTP. A certificate of usage 3 needs no name and no
date. Of several digests of one usage and selector the strongest alone counts.

Certificates are DER. cryptography and hashlib are imported for the records that need them.

Fails: never; what cannot be read matches nothing.
Source: RFC 7671 sections 4 to 9; RFC 7672 section 3.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from cryptography.x509 import Certificate

    from eqmail_core.dns.query import TlsaRecord

TRUST_ANCHOR, END_ENTITY = 2, 3
WHOLE, PUBLIC_KEY = 0, 1

EXACT = 0
_DIGESTS = {1: ("sha256", 32), 2: ("sha512", 64)}

MAX_CHAIN = 10
"""Most certificates of a server that are looked at."""

_MISMATCH = b"no TLSA record matches its certificate"


def usable(records: "Iterable[TlsaRecord]") -> "tuple[TlsaRecord, ...]":
    """Return the records that can prove a server, in a fixed order, each once."""
    known = {record for record in records if _is_usable(record)}
    strongest: dict[tuple[int, int], int] = {}
    for usage, selector, kind, _ in known:
        strongest[usage, selector] = max(strongest.get((usage, selector), 0), kind)
    return tuple(sorted(it for it in known if it[2] in (EXACT, strongest[it[0], it[1]])))


def _is_usable(record: "TlsaRecord") -> bool:
    usage, selector, kind, data = record
    if usage not in (TRUST_ANCHOR, END_ENTITY) or selector not in (WHOLE, PUBLIC_KEY):
        return False
    return bool(data) if kind == EXACT else kind in _DIGESTS and len(data) == _DIGESTS[kind][1]


def digest_of(records: "Iterable[TlsaRecord]") -> bytes:
    """Return a digest of `records` that differs for different sets."""
    from hashlib import sha256

    return sha256(b"".join(b"%d %d %d %d " % (*it[:3], len(it[3])) + it[3] for it in sorted(records))).digest()


def describe(record: "TlsaRecord") -> bytes:
    """Return the three numbers of a record, as a zone file has them."""
    return b"%d %d %d" % record[:3]


def check_chain(
    records: "Sequence[TlsaRecord]", chain: "Sequence[bytes]", names: "Sequence[bytes]", now: "datetime"
) -> "tuple[TlsaRecord | None, bytes]":
    """Return the usable record that the certificates match, or None and the reason.

    `chain`: as the server sent it, its own certificate first. `names`: those of the server that usage 2 allows.
    """
    if not chain:
        return None, b"it sent no certificate"
    chain = chain[:MAX_CHAIN]
    own = [it for it in records if it[0] == END_ENTITY]
    found = _matching(own, chain[0])
    if found is not None:
        return found, b""
    reason = _MISMATCH
    anchors = [it for it in records if it[0] == TRUST_ANCHOR]
    # The server's own certificate is no authority (RFC 7671 section 5.2.2).
    for place in range(1, len(chain)) if anchors else ():
        found = _matching(anchors, chain[place])
        if found is not None:
            reason = _chain_problem(chain[0], chain[1:place], chain[place], names, now)
            if not reason:
                return found, b""
    return None, reason


def _matching(records: "Iterable[TlsaRecord]", certificate: bytes) -> "TlsaRecord | None":
    key: bytes | None = None
    for record in records:
        _, selector, kind, data = record
        if selector == PUBLIC_KEY and key is None:
            key = _public_key(certificate)
        content = certificate if selector == WHOLE else key
        if content and (content if kind == EXACT else _digest(kind, content)) == data:
            return record
    return None


def _digest(kind: int, content: bytes) -> bytes:
    import hashlib

    return hashlib.new(_DIGESTS[kind][0], content).digest()


def _public_key(certificate: bytes) -> bytes:
    """Return the SubjectPublicKeyInfo of a certificate; b"" if it cannot be read."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    loaded = _load(certificate)
    try:
        return loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) if loaded else b""
    except (ValueError, UnsupportedAlgorithm):
        return b""


def _load(certificate: bytes) -> "Certificate | None":
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(certificate)
    except ValueError:
        return None


def _chain_problem(
    own: bytes, between: "Sequence[bytes]", anchor: bytes, names: "Sequence[bytes]", now: "datetime"
) -> bytes:
    """Return why `anchor` does not vouch for a server named one of `names`; b"" if it does."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.x509 import BasicConstraints, DNSName, SubjectAlternativeName
    from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

    loaded = [_load(it) for it in (own, *between, anchor)]
    known = [it for it in loaded if it is not None]
    if len(known) < len(loaded):
        return b"its certificates cannot be read"
    # Private authorities do not follow the rules of the Web's; the library checks signatures, dates, authorities,
    # names and their constraints all the same.
    server = ExtensionPolicy.permit_all().require_present(SubjectAlternativeName, Criticality.AGNOSTIC, None)
    authority = ExtensionPolicy.permit_all().require_present(BasicConstraints, Criticality.AGNOSTIC, None)
    builder = PolicyBuilder().store(Store([known[-1]])).time(now).max_chain_depth(MAX_CHAIN)
    builder = builder.extension_policies(ca_policy=authority, ee_policy=server)
    problem = b"its certificate names no host"
    for name in names:
        try:
            builder.build_server_verifier(DNSName(name.decode("ascii"))).verify(known[0], known[1:-1])
        except (VerificationError, ValueError, UnsupportedAlgorithm) as error:
            problem = b" ".join(str(error).encode("utf-8", "replace").split())[:200]
        else:
            return b""
    return problem
