"""crypt(3), as the system's library has it: the methods that it knows are those that secrets may use.

Source: crypt(3), crypt_gensalt(3), crypt(5).
"""

import ctypes
import os

_LIBRARIES = ("libcrypt.so.2", "libcrypt.so.1", "libcrypt.so", None)
_SALT = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SALT_LENGTH = 16
_FAILED = b"*"


def crypted(password: bytes, setting: bytes) -> bytes | None:
    """The crypt string of a password, made in the way of `setting`, which may be one; None where it cannot be made.

    Fails: OSError where the system has no crypt(3).
    """
    crypt = _function("crypt")
    crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    made: bytes | None = crypt(password, setting)
    return None if made is None or made.startswith(_FAILED) else made


def new_setting() -> bytes:
    """A fresh setting of the method that the system thinks best; SHA-512 where it has no opinion."""
    try:
        generate = _function("crypt_gensalt")
    except OSError:
        return _sha512_setting()
    generate.argtypes = [ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int]
    setting: bytes | None = generate(None, 0, None, 0)
    return _sha512_setting() if setting is None or setting.startswith(_FAILED) else setting


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
