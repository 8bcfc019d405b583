"""crypt(3), as the system's library has it: the methods that it knows are those that secrets may use. And Argon2.

Source: crypt(3), crypt_gensalt(3), crypt(5); RFC 9106 and the PHC string format for Argon2.
"""

import binascii
import ctypes
import os

_LIBRARIES = ("libcrypt.so.2", "libcrypt.so.1", "libcrypt.so", None)
_SALT = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SALT_LENGTH = 16
_FAILED = b"*"
_ARGON2ID = b"$argon2id$v=19$"
# What a stranger's login may cost: more memory and more work than anybody recommends are a mistake.
_MOST_KIBIBYTES, _MOST_PASSES = 1 << 20, 64


def crypted(password: bytes, setting: bytes) -> bytes | None:
    """The crypt string of a password, made in the way of `setting`, which may be one; None where it cannot be made.

    Fails: OSError where the system has no crypt(3).
    """
    if setting.startswith(_ARGON2ID):
        return _argon2(password, setting)
    crypt = _function("crypt")
    crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    made: bytes | None = crypt(password, setting)
    return None if made is None or made.startswith(_FAILED) else made


def new_setting(method: bytes | None = None) -> bytes:
    """A fresh setting of a method such as $y$, or of that which the system thinks best; SHA-512 where it has none."""
    try:
        generate = _function("crypt_gensalt")
    except OSError:
        return _sha512_setting()
    generate.argtypes = [ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int]
    setting: bytes | None = generate(method, 0, None, 0)
    return _sha512_setting() if setting is None or setting.startswith(_FAILED) else setting


def _argon2(password: bytes, setting: bytes) -> bytes | None:
    """The string of Argon2id for the parameters and the salt of another one; None where that is none."""
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
    """A function of the first library that has it, with a string as its result.  Fails: OSError."""
    for library in _LIBRARIES:
        try:
            function: ctypes._NamedFuncPointer = getattr(ctypes.CDLL(library), name)
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_char_p
        return function
    raise OSError(f"no {name}(3) here")
