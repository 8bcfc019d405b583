"""The DMARC policy of a domain, as a receiver finds it.

Fails: EqmailError where the DNS does not answer.
Source: RFC 9989 section 4.10.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from eqmail_core.dns.query import NO_ANSWER, NO_SUCH_NAME, NOTHING, TXT, DnsAnswer, DnsQuestion
from eqmail_core.mail_auth.dmarc import TEMPERROR, DmarcCheck, DmarcResult
from eqmail_setup.errors import EqmailError
from eqmail_setup.network.dns import DnsLookupFailed, domain_exists, query

if TYPE_CHECKING:
    from eqmail_core.dns.mx import Search

Ask = Callable[[DnsQuestion], DnsAnswer]


class DomainPolicy(NamedTuple):
    """What applies to mail of `domain`; `published_at` "" where there is no policy."""

    domain: str
    organization: str
    published_at: str
    policy: str
    dkim: str
    spf: str
    reports: tuple[str, ...]


def policy_of(domain: str, ask: "Ask | None" = None) -> DomainPolicy:
    """Ask the DNS for the policy of a domain."""
    asked, check = ask or _ask, DmarcCheck()
    found: DmarcResult = _run(check.check([domain.encode()], []), asked)
    if found.result == TEMPERROR:
        raise EqmailError(f"{domain}: the DNS does not answer the questions for its policy; try again later")
    organization: str = _run(check.organization(domain.encode()), asked).decode()
    record = found.record
    if record is None:
        return DomainPolicy(domain, organization, "", "none", "relaxed", "relaxed", ())
    dkim, spf = ("strict" if strict else "relaxed" for strict in (record.strict_dkim, record.strict_spf))
    reports = tuple(uri.decode("latin-1") for uri in record.reports)
    return DomainPolicy(domain, organization, found.record_domain.decode(), found.policy.decode(), dkim, spf, reports)


def _run(search: "Search[Any]", ask: Ask) -> "Any":
    answers: list[DnsAnswer] | None = None
    while True:
        try:
            questions = search.send(answers)  # type: ignore[arg-type]  # None starts a generator
        except StopIteration as end:
            return end.value
        answers = [ask(question) for question in questions]


def _ask(question: DnsQuestion) -> DnsAnswer:
    kind, name = question[0], os.fsdecode(question[1])
    try:
        if kind == TXT:
            return DnsAnswer(texts=tuple(os.fsencode(text) for text in query(name, kind)))
        return NOTHING if domain_exists(name) else NO_SUCH_NAME
    except DnsLookupFailed:
        return NO_ANSWER
