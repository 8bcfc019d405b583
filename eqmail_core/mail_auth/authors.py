"""The domains of a message's authors, from its From fields.

Source: RFC 5322 section 3.6.2; RFC 9989 section 4.4 and 11.5 (several authors); RFC 8616.
"""

import re

from eqmail_core.mail.address_list import AT, Unparsable, rewrite_addresses, text_of, tokenise
from eqmail_core.mail.domain_name import ascii_domain
from eqmail_core.mail.header import field_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from eqmail_core.mail.address_list import Token

MAX_FROM = 65536
"""Most bytes of all From fields that are read."""


def author_domains(fields: "Iterable[bytes]") -> list[bytes]:
    """Return the distinct domains of all addresses in all From fields, in order, as A-labels in lower case.

    Of a field that is no list of addresses everything counts that looks like one, for a reader may show it.
    """
    found: dict[bytes, None] = {}
    left = MAX_FROM
    for field in fields:
        if field_name(field) == b"from":
            found.update(dict.fromkeys(_domains(field[:left])))
            left = max(0, left - len(field))
    return list(found)


def _domains(field: bytes) -> list[bytes]:
    found: list[bytes] = []

    def note(address: "list[Token]") -> "list[Token]":
        places = [place for place, (kind, _) in enumerate(address) if kind == AT]
        if places:
            found.append(text_of(address[places[-1] + 1 :]))
        return address

    try:
        rewrite_addresses(tokenise(field), note)
    except Unparsable:
        found = _LIKE_A_DOMAIN.findall(field)[::-1]
    domains = [ascii_domain(domain).lower().rstrip(b".") for domain in reversed(found)]
    return [domain for domain in domains if domain and not domain.translate(None, _DOMAIN_BYTES)]


_LIKE_A_DOMAIN = re.compile(rb"@([A-Za-z0-9.\x80-\xff-]+)")
_DOMAIN_BYTES = b"abcdefghijklmnopqrstuvwxyz0123456789-_."
