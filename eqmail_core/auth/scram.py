"""SCRAM-SHA-256: the keys that are stored instead of a password, and the server's side of the exchange.

Stored keys verify a password and a SCRAM proof; whoever reads them can do neither.  Performs no I/O; nonces and salts
are arguments.

Source: RFC 5802, RFC 7677 (SHA-256), RFC 5803 (form of the stored keys), RFC 5929 (tls-server-end-point), RFC 4013.
"""

import hmac
from binascii import Error, a2b_base64, b2a_base64
from hashlib import pbkdf2_hmac, sha256

from eqmail_core.auth.secrets_file import SCRAM

ITERATIONS = 4096
"""Rounds of new keys (RFC 7677 section 4)."""

END_POINT = b"tls-server-end-point"
"""The channel binding that the server supports; TLS exporters are out of reach of Python's ssl."""

# More rounds in a stored line would be a mistake that stops the server.
_MAX_ITERATIONS = 1 << 20
_MAX_DIGITS = 7
_UNESCAPED = {b"2C": b",", b"3D": b"="}


class ScramError(Exception):
    """A message of the client is malformed, or asks for what cannot be had."""


class ScramKeys:
    """The stored keys of one login."""

    __slots__ = ("iterations", "salt", "server_key", "stored_key")

    def __init__(self, iterations: int, salt: bytes, stored_key: bytes, server_key: bytes) -> None:
        self.iterations = iterations
        self.salt = salt
        self.stored_key = stored_key
        self.server_key = server_key

    def text(self) -> bytes:
        """Return the form of RFC 5803: SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY."""
        keys = _encode(self.stored_key), _encode(self.server_key)
        return b"%b%d:%b$%b:%b" % (SCRAM, self.iterations, _encode(self.salt), *keys)


def parse_keys(text: bytes) -> ScramKeys | None:
    """Parse the form of RFC 5803; None for anything else."""
    parameters, _, keys = text.removeprefix(SCRAM).partition(b"$")
    rounds, _, salt = parameters.partition(b":")
    stored, _, server = keys.partition(b":")
    if not text.startswith(SCRAM) or not rounds.isdigit() or len(rounds) > _MAX_DIGITS:
        return None
    try:
        found = ScramKeys(int(rounds), *[a2b_base64(word, strict_mode=True) for word in (salt, stored, server)])
    except Error:
        return None
    is_sound = 0 < found.iterations <= _MAX_ITERATIONS and found.salt
    return found if is_sound and len(found.stored_key) == len(found.server_key) == 32 else None


def setting(salt: bytes, iterations: int = ITERATIONS) -> bytes:
    """Return the beginning of stored keys, for `crypted`."""
    return b"%b%d:%b$" % (SCRAM, iterations, _encode(salt))


def keys_of(password: bytes, salt: bytes, iterations: int = ITERATIONS) -> ScramKeys:
    """Derive the keys of a password."""
    salted = pbkdf2_hmac("sha256", prepared(password), salt, iterations)
    client_key = _hmac(salted, b"Client Key")
    return ScramKeys(iterations, salt, sha256(client_key).digest(), _hmac(salted, b"Server Key"))


def crypted_by(password: bytes, text: bytes) -> bytes | None:
    """Derive stored keys from a password by a `setting` or by other stored keys; None for an invalid text."""
    rounds, _, salt = text.removeprefix(SCRAM).partition(b"$")[0].partition(b":")
    try:
        raw = a2b_base64(salt, strict_mode=True)
    except Error:
        return None
    if not rounds.isdigit() or len(rounds) > _MAX_DIGITS or not 0 < int(rounds) <= _MAX_ITERATIONS or not raw:
        return None
    return keys_of(password, raw, int(rounds)).text()


def prepared(text: bytes) -> bytes:
    """Return a user name or password in the form that is compared (SASLprep); unchanged where it has none."""
    if text.isascii():
        return text
    import stringprep
    from unicodedata import normalize

    try:
        letters = text.decode("utf-8")
    except UnicodeDecodeError:
        return text
    mapped = [
        "" if stringprep.in_table_b1(letter) else " " if stringprep.in_table_c12(letter) else letter
        for letter in letters
    ]
    return normalize("NFKC", "".join(mapped)).encode("utf-8")


class ScramExchange:
    """The server's side of one exchange: `first`, then `challenge`, then `final`.

    `end_point`: the channel binding of this connection, None where the mechanism is not -PLUS; `offers_plus`: whether
    the server offers -PLUS here.
    """

    __slots__ = ("_bare", "_challenge", "_end_point", "_header", "_keys", "_nonce", "_offers_plus", "user")

    def __init__(self, nonce: bytes, end_point: bytes | None, offers_plus: bool) -> None:
        self._nonce = nonce
        self._end_point = end_point
        self._offers_plus = offers_plus
        self._header = self._bare = self._challenge = self.user = b""
        self._keys: ScramKeys | None = None

    def first(self, message: bytes) -> bytes:
        """Take the client's first message; return the user name.  Fails: ScramError."""
        binding, comma, rest = message.partition(b",")
        identity, second, self._bare = rest.partition(b",")
        if not comma or not second or (identity and not identity.startswith(b"a=")):
            raise ScramError("no header")
        if binding.startswith(b"p="):
            is_wrong = self._end_point is None or binding[2:] != END_POINT
        else:
            # A client that could bind and believes that this server cannot has been lied to.
            is_wrong = (
                self._end_point is not None or binding not in (b"n", b"y") or (binding == b"y" and self._offers_plus)
            )
        if is_wrong:
            raise ScramError("channel binding")
        self._header = message[: len(message) - len(self._bare)]
        attributes = self._bare.split(b",")
        if len(attributes) < 2 or not attributes[0].startswith(b"n=") or not attributes[1].startswith(b"r="):
            raise ScramError("no user and nonce")
        if len(attributes[1]) < 3 or not _is_printable(attributes[1]):
            raise ScramError("nonce")
        self.user = prepared(_unescaped(attributes[0][2:]))
        self._nonce = attributes[1][2:] + self._nonce
        return self.user

    def challenge(self, keys: ScramKeys) -> bytes:
        """Return the server's first message."""
        self._keys = keys
        self._challenge = b"r=%b,s=%b,i=%d" % (self._nonce, _encode(keys.salt), keys.iterations)
        return self._challenge

    def final(self, message: bytes) -> bytes | None:
        """Take the client's final message; return the server's, or None for a wrong proof.  Fails: ScramError."""
        keys = self._keys
        without_proof, comma, proof = message.rpartition(b",p=")
        attributes = without_proof.split(b",")
        if not comma or keys is None or len(attributes) < 2:
            raise ScramError("no proof")
        binding = self._header + (self._end_point or b"")
        if attributes[0] != b"c=" + _encode(binding) or attributes[1] != b"r=" + self._nonce:
            raise ScramError("channel binding or nonce")
        try:
            proved = a2b_base64(proof, strict_mode=True)
        except Error:
            raise ScramError("proof") from None
        text = b",".join((self._bare, self._challenge, without_proof))
        signature = _hmac(keys.stored_key, text)
        if len(proved) != len(signature):
            raise ScramError("proof")
        client_key = bytes(a ^ b for a, b in zip(proved, signature, strict=True))
        if not hmac.compare_digest(sha256(client_key).digest(), keys.stored_key):
            return None
        return b"v=" + _encode(_hmac(keys.server_key, text))


def _unescaped(name: bytes) -> bytes:
    """Return a user name in which =2C and =3D stand for comma and equals sign.  Fails: ScramError."""
    first, *rest = name.split(b"=")
    if any(part[:2] not in _UNESCAPED for part in rest):
        raise ScramError("user name")
    return first + b"".join(_UNESCAPED[part[:2]] + part[2:] for part in rest)


def _is_printable(text: bytes) -> bool:
    return all(0x21 <= byte <= 0x7E for byte in text)


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def _encode(data: bytes) -> bytes:
    return b2a_base64(data, newline=False)
