"""Questions to the DNS and their answers, as far as mail delivery needs them.

A question is a kind and a name (bytes).  Names in answers have no dot at their end, except the root, which is b"".
"""

MX = "MX"
A = "A"
AAAA = "AAAA"
CNAME = "CNAME"

CLIENT_TIMEOUT_S = 6.0
"""How long a client that connects waits at most for what the DNS says about it, in seconds."""

DnsQuestion = tuple[str, bytes]


class DnsAnswer:
    """What the DNS says, or that it says nothing for now (`is_temporary`).

    `names`: for MX each exchanger with its preference, for CNAME the canonical name with 0; `addresses`: for A and
    AAAA, as text in its canonical form.
    """

    __slots__ = ("addresses", "is_temporary", "names")

    def __init__(
        self, names: "tuple[tuple[int, bytes], ...]" = (), addresses: "tuple[str, ...]" = (), is_temporary: bool = False
    ) -> None:
        self.names = names
        self.addresses = addresses
        self.is_temporary = is_temporary


NOTHING = DnsAnswer()
"""There is no such name, or no record of that kind."""

NO_ANSWER = DnsAnswer(is_temporary=True)
"""No server could tell; asking later may help."""
