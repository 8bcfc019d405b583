"""Verifies a client's response against a secret.

A secret is a crypt(3) string, stored SCRAM keys, or clear text. The first two verify passwords.
Clear text verifies passwords and the digests of CRAM-MD5 and APOP.
A string of the form $ID$..., or stored keys, never count as clear text, so that a stolen one is useless as a password.

Source: programs.md 1.6; RFC 2195 (CRAM-MD5), RFC 1939 (APOP).
"""

from hashlib import md5
from hmac import compare_digest
from hmac import new as new_hmac

from eqmail_core.auth.secrets_file import is_crypt_string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Crypt = Callable[[bytes, bytes], bytes | None]


# Prefixes of the strings of crypt(3) methods and Argon2, the most expensive first; any other string costs less.
_BY_COST = (
    b"$argon2",
    b"$y$",
    b"$gy$",
    b"$7$",
    b"$2",
    b"$6$",
    b"SCRAM-",
    b"$5$",
    b"$sha1$",
    b"$md5",
    b"$1$",
    b"_",
    b"$",
)


def cost(secret: bytes) -> int:
    """Return the rank of a secret's method by computing time: higher is slower, 0 is clear text."""
    place = next((place for place, start in enumerate(_BY_COST) if secret.startswith(start)), len(_BY_COST))
    return len(_BY_COST) - place


def is_login(
    response: bytes, challenge: bytes, secret: bytes | None, others: "Iterable[bytes]", crypt: "Crypt"
) -> bool:
    """Return `is_proof` for the secret of a login; None is an unknown login.

    `others`: the secrets of all logins. The most expensive of them is computed too if the login's own is cheaper.
    So the time reveals neither whether the login exists nor which method its secret has.
    """
    dearest = max(others, key=cost, default=b"")
    if secret is None or cost(secret) < cost(dearest):
        is_proof(response, challenge, dearest, crypt)
    return secret is not None and is_proof(response, challenge, secret, crypt)


def is_proof(response: bytes, challenge: bytes, secret: bytes, crypt: "Crypt") -> bool:
    """Return whether `response` is the password of `secret`, or the digest for `challenge`.

    `crypt`: crypt(3), which returns None for an unknown method.
    A wrong response takes as long as a right one.
    """
    made = crypt(response, secret)
    is_right = made is not None and compare_digest(made, secret)
    is_clear = bool(secret) and not is_crypt_string(secret)
    if is_clear and not challenge:
        is_right |= compare_digest(response, secret)
    if is_clear and challenge:
        digests = new_hmac(secret, challenge, "md5"), md5(challenge + secret, usedforsecurity=False)
        for digest in digests:
            is_right |= compare_digest(digest.hexdigest().encode(), response.lower())
    return is_right
