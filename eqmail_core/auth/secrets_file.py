"""users/smtpauth: the accounts that may log in, a line LOGIN:SECRET each.

Empty lines and lines that begin with # are ignored. The first line of a login counts.
Source: programs.md 1.6 (qmail-chkpw).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = "smtpauth"

SCRAM = b"SCRAM-SHA-256$"
"""How the stored keys of SCRAM begin (RFC 5803)."""


def entries(text: bytes) -> "Iterator[tuple[bytes, bytes]]":
    """Generate login and secret of every line that has both."""
    for line in text.split(b"\n"):
        login, colon, secret = line.removesuffix(b"\r").partition(b":")
        if colon and login and secret and not line.startswith(b"#"):
            yield login, secret


def find_secret(text: bytes, login: bytes) -> bytes | None:
    """Return the secret of a login, None if it has none."""
    return next((secret for name, secret in entries(text) if name == login), None)


def has_clear_text(text: bytes) -> bool:
    """Return whether a secret may be clear text.

    Strings of the oldest crypt(3) method cannot be distinguished from clear text.
    """
    return any(not is_crypt_string(secret) for _, secret in entries(text))


def has_scram_keys(text: bytes) -> bool:
    """Return whether a secret is stored SCRAM keys."""
    return any(secret.startswith(SCRAM) for _, secret in entries(text))


def is_crypt_string(secret: bytes) -> bool:
    """Return whether a secret has the form $ID$... of all crypt(3) methods but the oldest, or is stored SCRAM keys."""
    if secret.startswith(SCRAM):
        return True
    if not secret.startswith(b"$"):
        return False
    method, dollar, _ = secret[1:].partition(b"$")
    return bool(dollar) and method.isalnum()
