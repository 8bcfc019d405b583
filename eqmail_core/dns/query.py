"""DNS questions and answers, as far as mail delivery needs them.

A question is a record type and a name (bytes). Names in answers have no final dot; the root is b"".
"""

MX = "MX"
A = "A"
AAAA = "AAAA"
CNAME = "CNAME"

CLIENT_TIMEOUT_S = 6.0
"""Longest time that DNS lookups about a connecting client delay it, in seconds."""

DnsQuestion = tuple[str, bytes]


class DnsAnswer:
    """A DNS answer, or a temporary failure (`is_temporary`).

    `names`: for MX each exchanger with its preference, for CNAME the canonical name with 0.
    `addresses`: for A and AAAA, in canonical text form.
    """

    __slots__ = ("addresses", "is_temporary", "names")

    def __init__(
        self, names: "tuple[tuple[int, bytes], ...]" = (), addresses: "tuple[str, ...]" = (), is_temporary: bool = False
    ) -> None:
        self.names = names
        self.addresses = addresses
        self.is_temporary = is_temporary


NOTHING = DnsAnswer()
"""The answer for a missing name, or one without a record of that type."""

NO_ANSWER = DnsAnswer(is_temporary=True)
"""The answer if no server answered; a retry may help."""
