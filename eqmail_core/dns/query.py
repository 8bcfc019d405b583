"""DNS questions and answers, as far as mail delivery needs them.

A question is a record type and a name (bytes). Names in answers have no final dot; the root is b"".
"""

MX = "MX"
A = "A"
AAAA = "AAAA"
CNAME = "CNAME"
TXT = "TXT"
PTR = "PTR"

CLIENT_TIMEOUT_S = 6.0
"""Longest time that DNS lookups about a connecting client delay it, in seconds."""

DnsQuestion = tuple[str, bytes]


class DnsAnswer:
    """A DNS answer, or a temporary failure (`is_temporary`).

    `names`: for MX each exchanger with its preference, for CNAME and PTR the names with 0.
    `addresses`: for A and AAAA, in canonical text form. `texts`: for TXT, the strings of each record joined.
    `is_missing`: the name does not exist (NXDOMAIN).
    """

    __slots__ = ("addresses", "is_missing", "is_temporary", "names", "texts")

    def __init__(
        self,
        names: "tuple[tuple[int, bytes], ...]" = (),
        addresses: "tuple[str, ...]" = (),
        is_temporary: bool = False,
        texts: tuple[bytes, ...] = (),
        is_missing: bool = False,
    ) -> None:
        self.names = names
        self.addresses = addresses
        self.is_temporary = is_temporary
        self.texts = texts
        self.is_missing = is_missing

    @property
    def is_empty(self) -> bool:
        """Whether the answer is certain and has no record."""
        return not (self.is_temporary or self.names or self.addresses or self.texts)


NOTHING = DnsAnswer()
"""The answer for a name without a record of that type."""

NO_SUCH_NAME = DnsAnswer(is_missing=True)
"""The answer for a name that does not exist."""

NO_ANSWER = DnsAnswer(is_temporary=True)
"""The answer if no server answered; a retry may help."""
