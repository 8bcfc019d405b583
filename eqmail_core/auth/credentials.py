"""What a client says about itself when it logs in, whichever the protocol."""

LOGIN, PLAIN, CRAM_MD5 = b"login", b"plain", b"cram-md5"


METHODS = (LOGIN, PLAIN, CRAM_MD5)


class Credentials:
    """What a client says about itself; `challenge` is empty except for CRAM-MD5, whose `password` is the digest."""

    __slots__ = ("challenge", "method", "password", "user")

    def __init__(self, method: bytes, user: bytes, password: bytes, challenge: bytes = b"") -> None:
        self.method = method
        self.user = user
        self.password = password
        self.challenge = challenge
