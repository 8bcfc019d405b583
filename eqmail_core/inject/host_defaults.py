"""Completes the host of an address as typed by a user.

Source: delivery.md 5.7 "address rewriting"; qmail-header(5).
"""

from eqmail_core.mail.address import quote_address
from eqmail_core.mail.address_list import AT, ATOM, COLON, DOT, LITERAL, Unparsable, text_of, tokenise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.mail.address_list import Token


class BadAddress(Exception):
    """An address or a line of addresses is invalid, so the message is not injected.

    `text` says which.
    """

    def __init__(self, text: bytes) -> None:
        super().__init__(text.decode("latin-1"))
        self.text = text

    @classmethod
    def in_line(cls, line: bytes) -> "BadAddress":
        """A whole line that cannot be parsed."""
        return cls(b"unable to parse this line:\n" + line)


class HostDefaults:
    """The three defaults of an installation, applied to one address at a time.

    Fails: BadAddress from the constructor, for a default that is no list of tokens.
    """

    __slots__ = ("_default_domain", "_default_host", "_plus_domain")

    def __init__(self, default_host: bytes, default_domain: bytes, plus_domain: bytes) -> None:
        self._default_domain = _default(b"." + default_domain)
        self._default_host = _default(b"@" + default_host)
        self._plus_domain = _default(b"." + plus_domain)

    def complete(self, address: "list[Token]") -> "list[Token]":
        """The address with a full host and without source route.

        box@[] and the empty address stay unchanged.
        """
        if not address or _is_verp_base(address):
            return address
        address = _without_route(address)
        for extra in (DOT, AT):
            if address and address[-1][0] == extra:
                address = address[:-1]
        if not address:
            return address
        if not any(kind == AT for kind, _ in address):
            address = address + self._default_host
        kind, text = address[-1]
        if kind == ATOM and text.endswith(b"+"):
            address = [*address[:-1], (ATOM, text[:-1]), *self._plus_domain]
        return address if _has_full_host(address) else address + self._default_domain

    def complete_text(self, address: bytes) -> bytes:
        """An envelope address with a full host; the part before the last @ stays unchanged.

        Fails: Unparsable when the host is no list of tokens.
        """
        return text_of(self.complete(tokenise(quote_address(address))))


def _default(text: bytes) -> "list[Token]":
    try:
        return tokenise(text)
    except Unparsable as error:
        raise BadAddress.in_line(text) from error


def _is_verp_base(address: "list[Token]") -> bool:
    return len(address) > 1 and address[-1] == (LITERAL, b"") and address[-2][0] == AT


def _without_route(address: "list[Token]") -> "list[Token]":
    """The address without a leading @HOST,@HOST: route; empty if the route has no end."""
    if address[0][0] != AT:
        return address
    for at, (kind, _) in enumerate(address):
        if kind == COLON:
            return address[at + 1 :]
    return []


def _has_full_host(address: "list[Token]") -> bool:
    """Tell whether the part after the last @ contains a dot or a literal."""
    for kind, _ in reversed(address):
        if kind in (DOT, LITERAL):
            return True
        if kind == AT:
            return False
    return False
