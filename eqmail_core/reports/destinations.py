"""The addresses that get a report about a domain: those of its policy, where a foreign one agrees to it in the DNS.

A search: questions out, answers in.

Fails: never.
Source: RFC 9990 section 4; RFC 9989 section 4.7 (rua).
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from eqmail_core.dns.query import TXT
from eqmail_core.mail_auth.dmarc import DmarcCheck
from eqmail_core.mail_auth.dmarc_record import DmarcRecord, parse_dmarc

if TYPE_CHECKING:
    from eqmail_core.dns.mx import Search
    from eqmail_core.mail_auth.dmarc import PublicSuffix

MAX_ADDRESSES = 4
"""Most addresses that get one report."""

_UNIT = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"!([0-9]{1,12})([kmgt]?)$", re.I)
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")


class Destination(NamedTuple):
    """An address, and the longest report that it wants, in bytes (0: any); `problem` "" where it gets one."""

    address: str
    limit_bytes: int
    problem: str


def mail_address(uri: str) -> tuple[str, int] | None:
    """Return address and limit of a mailto URI; None for another, or one that is no plain address."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "mailto":
        return None
    limit = 0
    size = _SIZE.search(rest)
    if size is not None:
        limit, rest = int(size[1]) * _UNIT[size[2].lower()], rest[: size.start()]
    address = unquote(rest.partition("?")[0])
    return (address, limit) if _ADDRESS.fullmatch(address) and len(address) <= 254 else None


def find_destinations(
    domain: str, uris: Sequence[str], public_suffix: "PublicSuffix | None" = None
) -> "Search[list[Destination]]":
    """Return the destinations of reports about `domain`, those with a problem among them."""
    organizations = DmarcCheck(public_suffix)
    found: list[Destination] = []
    own = None
    for uri in uris:
        if len([it for it in found if not it.problem]) >= MAX_ADDRESSES:
            break
        mailto = mail_address(uri)
        if mailto is None:
            continue
        address, limit = mailto
        host = address.rpartition("@")[2].lower()
        is_own = host == domain
        if not is_own:
            own = own or (yield from _organization(organizations, domain))
            is_own = bool(own) and own == (yield from _organization(organizations, host))
        if is_own:
            found.append(Destination(address, limit, ""))
        else:
            found += yield from _agreed(domain, address, host, limit)
    return list(dict.fromkeys(found))


def _organization(check: DmarcCheck, domain: str) -> "Search[bytes]":
    """Return the organization of a domain; b"" where the DNS does not answer."""
    return (yield from check.known_organization(domain.encode()))


def _agreed(domain: str, address: str, host: str, limit: int) -> "Search[list[Destination]]":
    """Return the destination that a foreign host agrees to, which may be another address of that host."""
    (answer,) = yield [(TXT, f"{domain}._report._dmarc.{host}".encode())]
    if answer.is_temporary:
        return [Destination(address, limit, "the DNS does not say whether it wants reports")]
    records = [record for record in map(parse_report_record, answer.texts) if record is not None]
    if len(records) != 1:
        return [Destination(address, limit, f"{host} does not say that it wants reports about {domain}")]
    others = [mail_address(uri.decode("latin-1")) for uri in records[0].reports]
    allowed = [other for other in others if other is not None and other[0].rpartition("@")[2].lower() == host]
    return [Destination(*(allowed[0] if allowed else (address, limit)), "")]


def parse_report_record(text: bytes) -> DmarcRecord | None:
    """Read the record by which a host agrees to reports: a version is enough."""
    return parse_dmarc(text)
