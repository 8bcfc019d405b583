"""Questions to DNS, for commands that explain, examine and configure.

Fails: Unanswered when no answer comes; a name or a kind that does not exist is an answer, and empty.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dns.exception
import dns.resolver
import dns.reversename

from eqmail_setup.errors import EqmailError

TIMEOUT_S = 5.0


class DnsLookupFailed(EqmailError):
    """DNS gives no answer; callers add what helps."""


def query(name: str, kind: str) -> list[str]:
    """The records of one kind, as text; those of TXT without quotation marks and in one piece."""
    with _query_records(name, kind):
        try:
            answer = dns.resolver.resolve(name, kind, lifetime=TIMEOUT_S)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
    if kind == "TXT":
        return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]
    return sorted(str(record).rstrip(".") for record in answer)


def domain_exists(name: str) -> bool:
    """Whether DNS knows a name; one without records exists too."""
    with _query_records(name, "MX"):
        try:
            dns.resolver.resolve(name, "MX", raise_on_no_answer=False, lifetime=TIMEOUT_S)
        except dns.resolver.NXDOMAIN:
            return False
    return True


def names_of(address: str) -> list[str]:
    """The names that DNS gives an address (PTR)."""
    return query(str(dns.reversename.from_address(address)), "PTR")


def canonical_name(host: str) -> str:
    """The full name behind the name of a host, looked for in the domains of resolv.conf too; "" for none."""
    with _query_records(host, "A"):
        try:
            answer = dns.resolver.resolve(host, "A", search=True, raise_on_no_answer=False, lifetime=TIMEOUT_S)
        except dns.resolver.NXDOMAIN:
            return ""
    return str(answer.canonical_name).rstrip(".").lower()


@contextmanager
def _query_records(name: str, kind: str) -> Iterator[None]:
    try:
        yield
    except (dns.exception.DNSException, OSError, ValueError) as error:
        raise DnsLookupFailed(f"DNS gives no answer for {name} {kind}: {type(error).__name__}") from error
