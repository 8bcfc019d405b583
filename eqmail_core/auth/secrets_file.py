"""users/smtpauth: who may log in, a line LOGIN:SECRET each.

Lines that begin with # and empty ones say nothing; the first line of a login counts.
Source: programs.md 1.6 (qmail-chkpw).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = "smtpauth"


def entries(text: bytes) -> "Iterator[tuple[bytes, bytes]]":
    """Login and secret of every line that has both."""
    for line in text.split(b"\n"):
        login, colon, secret = line.removesuffix(b"\r").partition(b":")
        if colon and login and secret and not line.startswith(b"#"):
            yield login, secret


def find_secret(text: bytes, login: bytes) -> bytes | None:
    """The secret of a login, None where it has none."""
    return next((secret for name, secret in entries(text) if name == login), None)


def has_clear_text(text: bytes) -> bool:
    """Return whether a secret may be clear text; what the oldest method of crypt(3) made may be."""
    return any(not is_crypt_string(secret) for _, secret in entries(text))


def is_crypt_string(secret: bytes) -> bool:
    """Return whether a secret has the form that all newer methods of crypt(3) have; those of the oldest have none."""
    if not secret.startswith(b"$"):
        return False
    method, dollar, _ = secret[1:].partition(b"$")
    return bool(dollar) and method.isalnum()
