"""Keys of DKIM: the record in the DNS, checking a signature with it, signing, and writing the record.

Source: RFC 6376 sections 3.6.1 and 3.6.2, RFC 8301 (RSA), RFC 8463 (Ed25519).
"""

import base64
import binascii

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa, utils

from eqmail_core.mail_auth.tag_list import InvalidTagList, parse_tags, split_list, without_blanks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    PublicKey: TypeAlias = "rsa.RSAPublicKey | ed25519.Ed25519PublicKey"
    PrivateKey: TypeAlias = "rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey"

RSA, ED25519 = b"rsa", b"ed25519"
RSA_SHA256, ED25519_SHA256 = b"rsa-sha256", b"ed25519-sha256"
ALGORITHMS = {RSA_SHA256: RSA, ED25519_SHA256: ED25519}

RSA_BITS = (1024, 8192)
"""Shortest and longest RSA key whose signatures count, in bits."""

MAX_RECORD = 8192
"""Longest key record that is read, in bytes."""


class InvalidKey(ValueError):
    """A key record, or a private key, that cannot be used; the text says why."""


class KeyRecord:
    """A key as the DNS has it: its kind, the hashes and services it is for, and its flags."""

    __slots__ = ("bits", "is_strict", "is_testing", "key", "kind")

    def __init__(self, kind: bytes, key: "PublicKey", bits: int, is_testing: bool, is_strict: bool) -> None:
        self.kind = kind
        self.key = key
        self.bits = bits
        self.is_testing = is_testing
        self.is_strict = is_strict

    def verifies(self, signature: bytes, digest: bytes) -> bool:
        """Return whether `signature` is this key's for a SHA-256 digest."""
        try:
            if isinstance(self.key, ed25519.Ed25519PublicKey):
                self.key.verify(signature, digest)
            else:
                self.key.verify(signature, digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True


def parse_key(text: bytes) -> KeyRecord:
    """Read a key record.

    Fails: InvalidKey, with the reason in words for Authentication-Results.
    """
    if len(text) > MAX_RECORD:
        raise InvalidKey("key record too long")
    try:
        tags = parse_tags(text)
    except InvalidTagList as error:
        raise InvalidKey("key syntax error") from error
    if tags.get(b"v", b"DKIM1") != b"DKIM1" or (b"v" in tags and next(iter(tags)) != b"v"):
        raise InvalidKey("key of another version")
    if b"p" not in tags:
        raise InvalidKey("no key in the record")
    if b"h" in tags and b"sha256" not in split_list(tags[b"h"]):
        raise InvalidKey("key not for sha256")
    if b"s" in tags and not {b"*", b"email"} & set(split_list(tags[b"s"])):
        raise InvalidKey("key not for mail")
    data = without_blanks(tags[b"p"])
    if not data:
        raise InvalidKey("key revoked")
    kind = tags.get(b"k", RSA)
    key = _public_key(kind, data)
    flags = split_list(tags.get(b"t", b""))
    return KeyRecord(kind, key, _bits(key), b"y" in flags, b"s" in flags)


def _public_key(kind: bytes, data: bytes) -> "PublicKey":
    try:
        raw = base64.b64decode(data, validate=True)
        if kind == ED25519:
            return ed25519.Ed25519PublicKey.from_public_bytes(raw)
        key = serialization.load_der_public_key(raw) if kind == RSA else None
    except (ValueError, binascii.Error, UnsupportedAlgorithm) as error:
        raise InvalidKey("key unreadable") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise InvalidKey("key of an unknown kind")
    least, longest = RSA_BITS
    if key.key_size < least:
        raise InvalidKey(f"key of {key.key_size} bits too short")
    if key.key_size > longest:
        raise InvalidKey(f"key of {key.key_size} bits too long")
    return key


def _bits(key: "PublicKey | PrivateKey") -> int:
    return 256 if isinstance(key, ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey) else key.key_size


def load_private_key(pem: bytes) -> "PrivateKey":
    """Read a private key in PEM.

    Fails: InvalidKey.
    """
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidKey("no private key in PEM form, or one with a password") from error
    if not isinstance(key, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise InvalidKey("neither RSA nor Ed25519")
    if isinstance(key, rsa.RSAPrivateKey) and not RSA_BITS[0] <= key.key_size <= RSA_BITS[1]:
        raise InvalidKey(f"RSA key of {key.key_size} bits; receivers accept {RSA_BITS[0]} to {RSA_BITS[1]}")
    return key


def generate_private_key(kind: bytes, bits: int = 2048) -> "PrivateKey":
    """Make a key of the kind RSA or ED25519."""
    return ed25519.Ed25519PrivateKey.generate() if kind == ED25519 else rsa.generate_private_key(65537, bits)


def private_pem(key: "PrivateKey") -> bytes:
    """Return a private key as PEM (PKCS #8), without a password."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def kind_of(key: "PrivateKey") -> bytes:
    """Return RSA or ED25519."""
    return ED25519 if isinstance(key, ed25519.Ed25519PrivateKey) else RSA


def algorithm_of(key: "PrivateKey") -> bytes:
    """Return the a= value of signatures by this key."""
    return kind_of(key) + b"-sha256"


def sign_digest(key: "PrivateKey", digest: bytes) -> bytes:
    """Sign a SHA-256 digest."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(digest)
    return key.sign(digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))


def public_record(key: "PrivateKey") -> bytes:
    """Return the text of the key record to publish."""
    public = key.public_key()
    if isinstance(public, ed25519.Ed25519PublicKey):
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    else:
        raw = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=%b; p=%b" % (kind_of(key), base64.b64encode(raw))


def public_data(text: bytes) -> bytes:
    """Return the p= value of a key record without blanks, b"" where there is none."""
    try:
        return without_blanks(parse_tags(text).get(b"p", b""))
    except InvalidTagList:
        return b""
