"""Whether what a client answers proves that it knows a secret.

A secret is a crypt(3) string, which proves passwords, or clear text, which proves the digests of CRAM-MD5 and APOP.
A string of the form $ID$... is never taken for clear text: who steals such strings cannot log in with them.

Source: programs.md 1.6; RFC 2195 (CRAM-MD5), RFC 1939 (APOP).
"""

from hashlib import md5
from hmac import compare_digest
from hmac import new as new_hmac

from eqmail_core.formats.smtpauth import is_crypt_string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Crypt = Callable[[bytes, bytes], bytes | None]


def is_proof(response: bytes, challenge: bytes, secret: bytes, crypt: "Crypt") -> bool:
    """Tell whether `response` is the password of `secret`, or its digest of a `challenge` that was posed.

    `crypt` is crypt(3), None for what it cannot do.  Takes as long for a wrong answer as for a right one.
    """
    made = crypt(response, secret)
    is_right = made is not None and compare_digest(made, secret)
    if challenge and not is_crypt_string(secret):
        digests = new_hmac(secret, challenge, "md5"), md5(challenge + secret, usedforsecurity=False)
        for digest in digests:
            is_right |= compare_digest(digest.hexdigest().encode(), response.lower())
    return is_right
