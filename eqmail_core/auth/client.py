"""The client side of SMTP AUTH: choice of the mechanism, and the answers to challenges.

Fails: never; an invalid challenge is answered with *, which makes the server refuse.
Source: RFC 4954, RFC 4616 (PLAIN), RFC 2195 (CRAM-MD5); delivery.md 5.6.
"""

import binascii

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CANCEL = b"*"


class ClientCredentials:
    """User and password for one relay."""

    __slots__ = ("password", "user")

    def __init__(self, user: bytes, password: bytes) -> None:
        self.user = user
        self.password = password

    def key(self) -> tuple[bytes, bytes]:
        """Return user and password, which identify the credentials."""
        return self.user, self.password


def choose_mechanism(keyword_lines: list[bytes]) -> bytes | None:
    """Choose the mechanism for a server with these EHLO lines; None without a supported one.

    LOGIN if it stands first, directly after PLAIN, or in the old form AUTH=LOGIN, as the relays of qmail users expect.
    Otherwise the first of CRAM-MD5, PLAIN and LOGIN that any line offers.
    """
    offered: list[bytes] = []
    for line in keyword_lines:
        words = line.upper().replace(b"AUTH=", b"AUTH ", 1).split()
        if words[:1] == [b"AUTH"]:
            if words[1:2] == [b"LOGIN"] or words[1:3] == [b"PLAIN", b"LOGIN"]:
                return b"LOGIN"
            offered += words[1:]
    for mechanism in (b"CRAM-MD5", b"PLAIN", b"LOGIN"):
        if mechanism in offered:
            return mechanism
    return None


def first_line(mechanism: bytes, credentials: ClientCredentials) -> bytes:
    """Return the AUTH command."""
    if mechanism == b"PLAIN":
        return b"AUTH PLAIN " + _encode(b"\0%b\0%b" % credentials.key())
    return b"AUTH " + mechanism


def answers(mechanism: bytes, credentials: ClientCredentials) -> "list[tuple[bytes, Callable[[bytes], bytes]]]":
    """Return the steps after the AUTH command.

    For each challenge: a display name and a function that returns the answer.
    """
    if mechanism == b"LOGIN":
        return [
            (b"username", lambda _: _encode(credentials.user)),
            (b"password", lambda _: _encode(credentials.password)),
        ]
    if mechanism == b"CRAM-MD5":
        return [(b"password", lambda challenge: _cram_md5(challenge, credentials))]
    return []


def _encode(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False)


def _cram_md5(challenge: bytes, credentials: ClientCredentials) -> bytes:
    import hmac

    try:
        text = binascii.a2b_base64(challenge.strip())
    except binascii.Error:
        return CANCEL
    return _encode(credentials.user + b" " + hmac.new(credentials.password, text, "md5").hexdigest().encode())
