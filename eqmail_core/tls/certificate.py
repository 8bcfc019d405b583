"""A summary of a certificate file for people."""

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
