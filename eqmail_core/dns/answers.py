"""Convert the results of dnspython into answers, for the cache.

Remote name servers are untrusted: the stored part of an answer is bounded.

Fails: never; any error is an answer with `is_temporary`, except a name that does not exist.
Source: RFC 1035; RFC 2181 section 5.2; RFC 2308 (negative answers); RFC 4035 section 3.2.3 (the AD bit).
"""

from eqmail_core.dns.query import (
    AUTHENTIC_NOTHING,
    CNAME,
    MX,
    NO_ANSWER,
    NO_SUCH_NAME,
    NOTHING,
    PTR,
    TLSA,
    TXT,
    DnsAnswer,
)
from eqmail_core.mail.domain_name import ascii_domain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import dns.name
    import dns.resolver

    from eqmail_core.dns.cache import DnsCache
    from eqmail_core.dns.query import DnsQuestion
    from eqmail_core.dns.validation import ValidationTrust

MAX_RECORDS = 100
"""Most records of one answer; of exchangers the best ones."""

CACHE_S = (1, 3600)
"""Shortest and longest cache time of an answer, in seconds."""

NEGATIVE_CACHE_S = 300
"""Longest cache time of a missing name or record, in seconds."""


def name_of(name: bytes) -> "dns.name.Name | None":
    """Convert a name for dnspython; None for an invalid name, which cannot exist."""
    import dns.exception
    import dns.name

    name = ascii_domain(name.removesuffix(b"."))
    try:
        return dns.name.Name([*name.split(b"."), b""]) if name else None
    except dns.exception.DNSException:
        return None


def store_answer(
    cache: "DnsCache", question: "DnsQuestion", found: "dns.resolver.Answer | Exception", trust: "ValidationTrust"
) -> DnsAnswer:
    """Convert dnspython's result into an answer, and cache it for its permitted time."""
    import dns.resolver

    if isinstance(found, dns.resolver.NXDOMAIN):
        ttl, answer = NEGATIVE_CACHE_S, NO_SUCH_NAME
    elif isinstance(found, Exception):
        return NO_ANSWER
    else:
        ttl = found.chaining_result.minimum_ttl
        answer = _answer(question[0], found, trust)
    least, longest = CACHE_S
    cache.put(question, answer, max(least, min(ttl, NEGATIVE_CACHE_S if answer.is_empty else longest)))
    return answer


def _answer(kind: str, found: "dns.resolver.Answer", trust: "ValidationTrust") -> DnsAnswer:
    import dns.flags

    records = list(found.rrset or ())
    is_authentic = bool(found.response.flags & dns.flags.AD) and trust.covers(found.nameserver or "")
    if not records:
        return AUTHENTIC_NOTHING if is_authentic else NOTHING
    answer = _records(kind, records)
    answer.is_authentic = is_authentic
    if found.canonical_name != found.qname:
        answer.canonical = _bytes_of(found.canonical_name)
    return answer


def _records(kind: str, records: "list[Any]") -> DnsAnswer:
    if kind == MX:
        best = sorted(records, key=lambda item: item.preference)[:MAX_RECORDS]
        return DnsAnswer(names=tuple((it.preference, _bytes_of(it.exchange)) for it in best))
    if kind in (CNAME, PTR):
        return DnsAnswer(names=tuple((0, _bytes_of(it.target)) for it in records[:MAX_RECORDS]))
    if kind == TXT:
        return DnsAnswer(texts=tuple(b"".join(it.strings) for it in records[:MAX_RECORDS]))
    if kind == TLSA:
        return DnsAnswer(tlsa=tuple((it.usage, it.selector, it.mtype, it.cert) for it in records[:MAX_RECORDS]))
    return DnsAnswer(addresses=tuple(it.address for it in records[:MAX_RECORDS]))


def _bytes_of(name: "dns.name.Name") -> bytes:
    return b".".join(name.labels[:-1])
