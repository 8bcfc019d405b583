"""Password hashes: the methods of the system's crypt(3), Argon2id, and the stored keys of SCRAM.

Source: crypt(3), crypt_gensalt(3), crypt(5); RFC 9106 and the PHC string format for Argon2.
"""

import binascii
import ctypes
import os

from eqmail_core.auth.secrets_file import SCRAM

_LIBRARIES = ("libcrypt.so.2", "libcrypt.so.1", "libcrypt.so", None)
_SALT = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SALT_LENGTH = 16
_FAILED = b"*"
_ARGON2ID = b"$argon2id$v=19$"
# Upper bounds on memory and passes of an untrusted login; more than any recommendation is a mistake.
_MOST_KIBIBYTES, _MOST_PASSES = 1 << 20, 64


def crypted(password: bytes, setting: bytes) -> bytes | None:
    """Hash a password by `setting`, a setting or a crypt string; None for an unknown method.

    Fails: OSError if the system has no crypt(3).
    """
    if setting.startswith(SCRAM):
        from eqmail_core.auth.scram import crypted_by

        return crypted_by(password, setting)
    if setting.startswith(_ARGON2ID):
        return _argon2(password, setting)
    crypt = _function("crypt")
    crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    made: bytes | None = crypt(password, setting)
    return None if made is None or made.startswith(_FAILED) else made


def new_setting(method: bytes | None = None) -> bytes:
    """Return a new setting for a method such as $y$ or SCRAM; None: the system's default method.

    Without crypt_gensalt(3) or that method it is a SHA-512 setting.
    """
    if method == SCRAM:
        from eqmail_core.auth.scram import setting as scram_setting

        return scram_setting(os.urandom(_SALT_LENGTH))
    try:
        generate = _function("crypt_gensalt")
    except OSError:
        return _sha512_setting()
    generate.argtypes = [ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int]
    setting: bytes | None = generate(method, 0, None, 0)
    return _sha512_setting() if setting is None or setting.startswith(_FAILED) else setting


def _argon2(password: bytes, setting: bytes) -> bytes | None:
    """Hash a password by the parameters and salt of an Argon2id string; None if it is invalid."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
    except ImportError:
        return None
    words, _, rest = setting.removeprefix(_ARGON2ID).partition(b"$")
    salt, _, old = rest.partition(b"$")
    try:
        numbers = {name: int(value) for name, _, value in (word.partition(b"=") for word in words.split(b","))}
        memory, passes, channels = (numbers[name] for name in (b"m", b"t", b"p"))
        if memory > _MOST_KIBIBYTES or passes > _MOST_PASSES:
            return None
        length = len(_unpadded(old))
        made = Argon2id(salt=_unpadded(salt), length=length, iterations=passes, lanes=channels, memory_cost=memory)
        digest = binascii.b2a_base64(made.derive(password), newline=False).rstrip(b"=")
    except (ValueError, KeyError, UnsupportedAlgorithm):
        return None
    return b"%b%b$%b$%b" % (_ARGON2ID, words, salt, digest)


def _unpadded(text: bytes) -> bytes:
    return binascii.a2b_base64(text + b"=" * (-len(text) % 4))


def _sha512_setting() -> bytes:
    return b"$6$" + bytes(_SALT[byte & 63] for byte in os.urandom(_SALT_LENGTH))


def _function(name: str) -> "ctypes._NamedFuncPointer":
    """Return a C function with a string result, from the first library that has it.

    Fails: OSError.
    """
    for library in _LIBRARIES:
        try:
            function: ctypes._NamedFuncPointer = getattr(ctypes.CDLL(library), name)
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_char_p
        return function
    raise OSError(f"no {name}(3) here")
