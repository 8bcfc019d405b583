"""SRS: a sender of this host for mail that it forwards, and the way back for bounces.

    SRS0=HASH=TT=HOST=USER@here          from USER@HOST
    SRS1=HASH=FIRST==HASH=TT=HOST=USER@here   from an SRS0 address of the forwarder FIRST

The bytes are those of libsrs2 and postsrsd.

Source: Wong, "Sender Rewriting Scheme" (2003); libsrs2.
"""

import base64
import hashlib
import hmac
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_DAY_S = 86400
_SLOTS = 1024
_HASH = 4

MAX_AGE_DAYS = 21
"""How long bounces find their way back, in days."""

_SRS0 = re.compile(rb"SRS0[=+-]([^=]+)=([A-Z2-7]{2})=([^=]+)=(.+)", re.I | re.S)
_SRS1 = re.compile(rb"SRS1[=+-]([^=]+)=([^=]+)=([=+-].+)", re.I | re.S)


class InvalidSrs(ValueError):
    """An address that this host has not made, or not lately; the text says which."""


def is_srs(address: bytes) -> bool:
    """Return whether an address looks like one of SRS."""
    return re.match(rb"SRS[01][=+-]", address, re.I) is not None


def rewrite_sender(sender: bytes, domain: bytes, secret: bytes, now: int) -> bytes:
    """Return an address in `domain` that stands for `sender`; the null sender stays.

    Fails: InvalidSrs for a sender without a domain.
    """
    if not sender:
        return sender
    local, at, host = sender.rpartition(b"@")
    if not at or not local or not host:
        raise InvalidSrs("no domain")
    if b"=" in host:
        raise InvalidSrs("a domain with =")
    again = _SRS1.fullmatch(local)
    if again is not None:
        first, rest = again[2], again[3]
    elif _SRS0.fullmatch(local):
        first, rest = host, local[4:]
    else:
        stamp = _stamp(now)
        return b"SRS0=%b=%b=%b=%b@%b" % (_hash(secret, stamp, host, local), stamp, host, local, domain)
    return b"SRS1=%b=%b=%b@%b" % (_hash(secret, first, rest), first, rest, domain)


def restore_sender(address: bytes, secrets: "Sequence[bytes]", now: int) -> bytes:
    """Return the address that an SRS address stands for.

    `secrets`: the current one, and those whose addresses still count.
    Fails: InvalidSrs.
    """
    local = address.rpartition(b"@")[0]
    again = _SRS1.fullmatch(local)
    if again is not None:
        digest, first, rest = again.groups()
        _check(secrets, digest, first, rest)
        return b"SRS0%b@%b" % (rest, first)
    found = _SRS0.fullmatch(local)
    if found is None:
        raise InvalidSrs("no address of SRS")
    digest, stamp, host, user = found.groups()
    _check(secrets, digest, stamp, host, user)
    first, second = (_DIGITS.index(byte) for byte in stamp.upper())
    if (now // _DAY_S - (first * 32 + second)) % _SLOTS > MAX_AGE_DAYS:
        raise InvalidSrs("too old")
    return b"%b@%b" % (user, host)


def _stamp(now: int) -> bytes:
    day = now // _DAY_S % _SLOTS
    return bytes((_DIGITS[day // 32], _DIGITS[day % 32]))


def _hash(secret: bytes, *parts: bytes) -> bytes:
    digest = hmac.new(secret, b"".join(parts).lower(), hashlib.sha1).digest()
    return base64.b64encode(digest)[:_HASH]


def _check(secrets: "Sequence[bytes]", digest: bytes, *parts: bytes) -> None:
    """Compare without case, because some servers change it.  Fails: InvalidSrs."""
    wanted = digest.lower()
    if not any(hmac.compare_digest(_hash(secret, *parts).lower(), wanted) for secret in secrets):
        raise InvalidSrs("not made here")
