"""Whether what a client answers proves that it knows a secret.

A secret is a crypt(3) string, which proves passwords, or clear text, which proves these and the digests of CRAM-MD5 and
APOP.
A string of the form $ID$... is never taken for clear text: who steals such strings cannot log in with them.

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


# Methods of crypt(3) and Argon2, the dearest first, as their strings begin; what has none of these costs less.
_BY_COST = (b"$argon2", b"$y$", b"$gy$", b"$7$", b"$2", b"$6$", b"$5$", b"$sha1$", b"$md5", b"$1$", b"_", b"$")


def cost(secret: bytes) -> int:
    """How dear the method of a secret is among the others: the greater the dearer, 0 for clear text."""
    place = next((place for place, start in enumerate(_BY_COST) if secret.startswith(start)), len(_BY_COST))
    return len(_BY_COST) - place


def is_login(
    response: bytes, challenge: bytes, secret: bytes | None, others: "Iterable[bytes]", crypt: "Crypt"
) -> bool:
    """As `is_proof` for the secret of a login, None where there is no such login; `others` are those of all logins.

    Whether there is the login, and which method its secret has, the time that this takes does not tell: the dearest of
    all secrets is tried, too.
    """
    dearest = max(others, key=cost, default=b"")
    if secret is None or cost(secret) < cost(dearest):
        is_proof(response, challenge, dearest, crypt)
    return secret is not None and is_proof(response, challenge, secret, crypt)


def is_proof(response: bytes, challenge: bytes, secret: bytes, crypt: "Crypt") -> bool:
    """Return whether `response` is the password of `secret`, or its digest of a `challenge` that was posed.

    `crypt` is crypt(3), None for what it cannot do.  Takes as long for a wrong answer as for a right one.
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
