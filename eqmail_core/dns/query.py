"""DNS questions and answers, as far as mail delivery needs them.

A question is a record type and a name (bytes). Names in answers have no final dot; the root is b"".
"""

MX = "MX"
A = "A"
AAAA = "AAAA"
CNAME = "CNAME"
TXT = "TXT"
PTR = "PTR"
TLSA = "TLSA"

CLIENT_TIMEOUT_S = 6.0
"""Longest time that DNS lookups about a connecting client delay it, in seconds."""

DnsQuestion = tuple[str, bytes]

TlsaRecord = tuple[int, int, int, bytes]
"""Usage, selector, matching type and data of a TLSA record (RFC 6698 section 2.1)."""


class DnsAnswer:
    """A DNS answer, or a temporary failure (`is_temporary`).

    `names`: for MX each exchanger with its preference, for CNAME and PTR the names with 0.
    `addresses`: for A and AAAA, in canonical text form. `texts`: for TXT, the strings of each record joined.
    `is_missing`: the name does not exist (NXDOMAIN). `tlsa`: for TLSA.
    `is_authentic`: a trusted resolver validated the whole answer by DNSSEC; `canonical`: the name at the end of the
    aliases that it followed, b"" where there was none.
    """

    __slots__ = ("addresses", "canonical", "is_authentic", "is_missing", "is_temporary", "names", "texts", "tlsa")

    def __init__(
        self,
        names: "tuple[tuple[int, bytes], ...]" = (),
        addresses: "tuple[str, ...]" = (),
        is_temporary: bool = False,
        texts: tuple[bytes, ...] = (),
        is_missing: bool = False,
        tlsa: tuple[TlsaRecord, ...] = (),
        is_authentic: bool = False,
        canonical: bytes = b"",
    ) -> None:
        self.names = names
        self.addresses = addresses
        self.is_temporary = is_temporary
        self.texts = texts
        self.is_missing = is_missing
        self.tlsa = tlsa
        self.is_authentic = is_authentic
        self.canonical = canonical

    @property
    def is_empty(self) -> bool:
        """Whether the answer is certain and has no record."""
        return not (self.is_temporary or self.names or self.addresses or self.texts or self.tlsa)


NOTHING = DnsAnswer()
"""The answer for a name without a record of that type."""

AUTHENTIC_NOTHING = DnsAnswer(is_authentic=True)
"""The same, proved by DNSSEC."""

NO_SUCH_NAME = DnsAnswer(is_missing=True)
"""The answer for a name that does not exist."""

NO_ANSWER = DnsAnswer(is_temporary=True)
"""The answer if no server answered; a retry may help."""
