"""The credentials of a client's login, for every protocol."""

LOGIN, PLAIN, CRAM_MD5 = b"login", b"plain", b"cram-md5"


METHODS = (LOGIN, PLAIN, CRAM_MD5)


class Credentials:
    """A login: method, user and password.

    For CRAM-MD5 `password` is the digest of `challenge`; otherwise `challenge` is empty.
    """

    __slots__ = ("challenge", "method", "password", "user")

    def __init__(self, method: bytes, user: bytes, password: bytes, challenge: bytes = b"") -> None:
        self.method = method
        self.user = user
        self.password = password
        self.challenge = challenge
