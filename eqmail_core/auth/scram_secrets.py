"""The SCRAM keys of logins in users/smtpauth, for servers.

A login without usable secret has keys too, which nobody can prove, always the same: so the challenge does not tell
which logins exist.  The file is read again when it changes; the keys of clear-text secrets are derived once.

Fails: OSError when the file cannot be read.
Source: RFC 5802 section 9.
"""

import os

from eqmail_core.auth.scram import ITERATIONS, ScramKeys, keys_of, parse_keys
from eqmail_core.auth.secrets_file import find_secret, is_crypt_string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SALT_BYTES = 16


class ScramSecrets:
    """The keys from one file; `read(path)` returns its content."""

    def __init__(self, path: str, read: "Callable[[str], bytes | None]") -> None:
        self._path = path
        self._read = read
        self._stamp: tuple[int, int, int] | None = None
        self._text = b""
        self._derived: dict[bytes, ScramKeys] = {}

    def find(self, login: bytes) -> ScramKeys:
        """Return the keys of a login.  Fails: OSError."""
        status = os.stat(self._path)
        stamp = status.st_mtime_ns, status.st_ino, status.st_size
        if stamp != self._stamp:
            self._text, self._stamp = self._read(self._path) or b"", stamp
            self._derived.clear()
        secret = find_secret(self._text, login)
        stored = None if secret is None else parse_keys(secret)
        if stored is not None:
            return stored
        import hmac

        # Only who reads the file could tell this salt from a random one.
        salt = hmac.digest(self._text, login, "sha256")[:_SALT_BYTES]
        if secret is None or is_crypt_string(secret):
            unknown = hmac.digest(self._text, b"\0" + login, "sha256")
            return ScramKeys(ITERATIONS, salt, unknown, unknown)
        if login not in self._derived:
            self._derived[login] = keys_of(secret, salt)
        return self._derived[login]
