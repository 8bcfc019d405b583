"""Which name servers are trusted to validate by DNSSEC: the AD bit of their answers counts.

The bit is as safe as the way to the server, so without a setting only servers on a loopback address are trusted.

Fails: never.
Source: RFC 4035 section 4.9.3; RFC 6840 section 5.7; RFC 7672 section 2.1.
"""

LOOPBACK = b"loopback"
"""The word for every name server on a loopback address."""

NOBODY = b"off"
"""The word for no name server."""


class ValidationTrust:
    """A set of trusted name servers: addresses in canonical text form, and perhaps all on loopback."""

    __slots__ = ("addresses", "has_loopback")

    def __init__(self, addresses: "frozenset[str]" = frozenset(), has_loopback: bool = False) -> None:
        self.addresses = addresses
        self.has_loopback = has_loopback

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ValidationTrust) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __bool__(self) -> bool:
        return bool(self.addresses or self.has_loopback)

    def covers(self, server: str) -> bool:
        """Return whether the name server at this address is trusted."""
        return server in self.addresses or (self.has_loopback and (server.startswith("127.") or server == "::1"))

    def _key(self) -> "tuple[frozenset[str], bool]":
        return self.addresses, self.has_loopback


TRUST_NONE = ValidationTrust()
TRUST_LOOPBACK = ValidationTrust(has_loopback=True)


def trust_of(words: "list[bytes] | None") -> ValidationTrust:
    """Return what the lines of the setting trust: addresses, or one of the words above; None: LOOPBACK."""
    if words is None:
        return TRUST_LOOPBACK
    lower = [word.strip().lower() for word in words]
    if NOBODY in lower:
        return TRUST_NONE
    addresses = frozenset(word.decode("latin-1") for word in lower if word != LOOPBACK)
    return ValidationTrust(addresses, LOOPBACK in lower)
