"""What a certificate file says: a summary for people, and the channel binding of its connections.

Source: RFC 5929 section 4.
"""

from datetime import UTC, datetime


def validity(pem: bytes) -> str:
    """Return a sentence on the validity of the first certificate in a PEM text."""
    from cryptography import x509

    try:
        end = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except ValueError:
        return "holds no certificate that can be read"
    expired = " (expired)" if end < datetime.now(UTC) else ""
    return f"valid until {end:%b %e %H:%M:%S %Y} GMT{expired}"


def end_point(pem: bytes) -> bytes:
    """Return the channel binding tls-server-end-point: the hash of the first certificate; b"" where none is defined."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.hashes import MD5, SHA1, SHA256

    try:
        certificate = x509.load_pem_x509_certificate(pem)
        algorithm = certificate.signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return b""
    if algorithm is None:  # such as Ed25519, for which the RFC defines none
        return b""
    return certificate.fingerprint(SHA256() if isinstance(algorithm, MD5 | SHA1) else algorithm)
