"""What people want to know about a certificate file."""

from datetime import UTC, datetime


def validity(pem: bytes) -> str:
    """Until when the first certificate in a PEM text is valid, in words; an unusable text is said to be one."""
    from cryptography import x509

    try:
        end = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except ValueError:
        return "holds no certificate that can be read"
    expired = " (expired)" if end < datetime.now(UTC) else ""
    return f"valid until {end:%b %e %H:%M:%S %Y} GMT{expired}"
