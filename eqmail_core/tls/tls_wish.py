"""What one connection to another server is to have of TLS."""


class TlsPolicy:
    """Whether TLS is tried where it is offered, and what demands it, if anything does.

    `demanded_by`: the file with the authorities that must vouch for the server, b"" where any certificate will do and
    plain text too; `is_implicit`: TLS begins before the greeting.
    """

    __slots__ = ("demanded_by", "is_implicit", "is_wanted")

    def __init__(self, is_wanted: bool, demanded_by: bytes = b"", is_implicit: bool = False) -> None:
        self.is_wanted = is_wanted
        self.demanded_by = demanded_by
        self.is_implicit = is_implicit

    @property
    def may_be_plain(self) -> bool:
        """Whether mail may go without TLS."""
        return not (self.demanded_by or self.is_implicit)


PLAIN = TlsPolicy(False)
IF_OFFERED = TlsPolicy(True)
