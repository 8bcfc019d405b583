"""BATV: a signed sender, so that a bounce of what this host has not sent is known.

    prvs=KDDDSSSSSS=USER@domain     K: number of the key; DDD: last day, modulo 1000; SSSSSS: hash in hex

Source: draft-levine-smtp-batv-01.
"""

import hashlib
import hmac
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_DAY_S = 86400
_DAYS = 1000

LIFETIME_DAYS = 7
"""How long bounces to a signed sender are accepted, in days."""

_SIGNED = re.compile(rb"prvs=([0-9])([0-9]{3})([0-9a-f]{6})=(.+@.+)", re.I | re.S)


class InvalidBatv(ValueError):
    """An address with a wrong hash, or one too old."""


def sign_sender(sender: bytes, secret: bytes, now: int) -> bytes:
    """Return the signed form of an address; the null sender and signed ones stay."""
    if not sender or b"@" not in sender or _SIGNED.fullmatch(sender):
        return sender
    day = b"%03d" % ((now // _DAY_S + LIFETIME_DAYS) % _DAYS)
    return b"prvs=0%b%b=%b" % (day, _hash(secret, b"0" + day, sender), sender)


def is_signed(address: bytes) -> bool:
    """Return whether an address has the signed form."""
    return _SIGNED.fullmatch(address) is not None


def restore_address(address: bytes, secrets: "Sequence[bytes]", now: int) -> bytes:
    """Return the address without its signature.

    `secrets`: the current one, and those whose signatures still count.
    Fails: InvalidBatv.
    """
    found = _SIGNED.fullmatch(address)
    if found is None:
        raise InvalidBatv("not signed")
    number, day, digest, sender = found.groups()
    hashes = [_hash(secret, number + day, sender) for secret in secrets]
    if not any(hmac.compare_digest(known, digest.lower()) for known in hashes):
        raise InvalidBatv("not signed here")
    if (int(day) - now // _DAY_S) % _DAYS > LIFETIME_DAYS:
        raise InvalidBatv("too old")
    return sender


def _hash(secret: bytes, stamp: bytes, sender: bytes) -> bytes:
    return hmac.new(secret, stamp + sender, hashlib.sha1).hexdigest()[:6].encode()
