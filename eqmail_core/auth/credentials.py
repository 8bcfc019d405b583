"""The credentials of a client's login, for every protocol."""

LOGIN, PLAIN, CRAM_MD5 = b"login", b"plain", b"cram-md5"
SCRAM, SCRAM_PLUS = b"scram-sha-256", b"scram-sha-256-plus"


METHODS = (LOGIN, PLAIN, CRAM_MD5)
"""What a checkpassword program may be able to check."""

SCRAM_METHODS = (SCRAM, SCRAM_PLUS)
"""What the server checks itself, with the keys in users/smtpauth."""


class Credentials:
    """A login: method, user and password.

    For CRAM-MD5 `password` is the digest of `challenge`; otherwise `challenge` is empty.
    `is_proven`: whether the exchange itself proved the login (SCRAM); None: a checker must decide.
    """

    __slots__ = ("challenge", "is_proven", "method", "password", "user")

    def __init__(
        self, method: bytes, user: bytes, password: bytes, challenge: bytes = b"", is_proven: bool | None = None
    ) -> None:
        self.is_proven = is_proven
        self.method = method
        self.user = user
        self.password = password
        self.challenge = challenge
