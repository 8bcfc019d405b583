"""DMARC: does the author's domain stand behind a message, and what does it ask for where it does not?

A search: questions out, answers in.  The organization of a domain is found by the tree walk, or by a list of public
suffixes (`organization`).

Fails: never; every error is a result.
Source: RFC 9989 sections 4.4 (alignment), 4.10 (tree walk), 5.
"""

from eqmail_core.dns.query import TXT, A
from eqmail_core.mail_auth.dmarc_record import NONE, POLICIES, DmarcRecord, single_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from eqmail_core.dns.mx import Search
    from eqmail_core.dns.query import DnsAnswer

    PublicSuffix: TypeAlias = Callable[[bytes], bytes]

PASS, FAIL, TEMPERROR, PERMERROR = b"pass", b"fail", b"temperror", b"permerror"

MAX_WALK = 8
"""Most questions of one tree walk; of a longer name the last seven labels are asked for."""

MAX_AUTHORS = 4
"""Most domains of authors of one message."""


class DmarcResult:
    """The result for one author domain, what the domain asks for, and the record that says so.

    `dkim_passes`, `spf_passes`: whether an aligned domain was authenticated by that.
    """

    __slots__ = ("dkim_passes", "domain", "policy", "reason", "record", "record_domain", "result", "spf_passes")

    def __init__(self, result: bytes, domain: bytes, reason: bytes = b"") -> None:
        self.result = result
        self.domain = domain
        self.reason = reason
        self.policy = NONE
        self.record: DmarcRecord | None = None
        self.record_domain = b""
        self.dkim_passes = self.spf_passes = False

    def passes(self, is_dkim: bool) -> bool:
        """Return whether an aligned domain was authenticated by DKIM, or by SPF."""
        return self.dkim_passes if is_dkim else self.spf_passes

    def note_aligned(self, identifier: "Identifier") -> None:
        """Note that a domain is aligned which was authenticated, or might have been."""
        if identifier.result == PASS:
            self.result, self.reason = PASS, b""
            self.dkim_passes = self.dkim_passes or identifier.is_dkim
            self.spf_passes = self.spf_passes or not identifier.is_dkim
        elif self.result != PASS:
            self.result, self.reason = TEMPERROR, b"an aligned check got no answer"


class Identifier:
    """A domain that SPF or DKIM authenticated, or would have: `result` is pass, temperror or another."""

    __slots__ = ("domain", "is_dkim", "result")

    def __init__(self, domain: bytes, result: bytes, is_dkim: bool) -> None:
        self.domain = domain.lower()
        self.result = result
        self.is_dkim = is_dkim


class _Unanswered(Exception):
    """A question for a record got no answer."""


class DmarcCheck:
    """The check of one message; answers are shared by its walks.

    `public_suffix`: returns the organization of a domain by a list of public suffixes; None for the tree walk.
    """

    def __init__(self, public_suffix: "PublicSuffix | None" = None) -> None:
        self._public_suffix = public_suffix
        self._answers: dict[bytes, DnsAnswer] = {}

    def check(self, authors: "Sequence[bytes]", identifiers: "Sequence[Identifier]") -> "Search[DmarcResult]":
        """Return the result for the author domains; of several the one that is worst for the message."""
        domains = list(dict.fromkeys(author.lower() for author in authors))
        if not domains:
            return DmarcResult(PERMERROR, b"", b"no author")
        if len(domains) > MAX_AUTHORS:
            return DmarcResult(PERMERROR, domains[0], b"too many authors")
        worst = yield from self._check_one(domains[0], identifiers)
        for domain in domains[1:]:
            found = yield from self._check_one(domain, identifiers)
            worst = max(worst, found, key=_severity)
        return worst

    def _check_one(self, author: bytes, identifiers: "Sequence[Identifier]") -> "Search[DmarcResult]":
        found = DmarcResult(NONE, author, b"no policy")
        try:
            organization = yield from self.organization(author)
            domain, record = yield from self._policy_record(author, organization)
            if record is None or not record.has_policy:
                return found
            found.record, found.record_domain = record, domain
            is_missing = domain != author and record.missing_policy is not None and (yield from self._misses(author))
            found.policy = record.policy_for(domain == author, is_missing)
            yield from self._align(found, organization, record, identifiers)
        except _Unanswered:
            if found.result != PASS:
                found.result, found.reason = TEMPERROR, b"no answer to a question for a policy"
        return found

    def _align(
        self, found: DmarcResult, organization: bytes, record: DmarcRecord, identifiers: "Sequence[Identifier]"
    ) -> "Search[None]":
        """Set the result: PASS if an authenticated domain is aligned; TEMPERROR if one might have been."""
        found.result, found.reason = FAIL, b""
        for identifier in identifiers:
            if identifier.result not in (PASS, TEMPERROR) or found.passes(identifier.is_dkim):
                continue
            strict = record.strict_dkim if identifier.is_dkim else record.strict_spf
            if (yield from self._is_aligned(identifier.domain, found.domain, organization, strict)):
                found.note_aligned(identifier)

    def _is_aligned(self, domain: bytes, author: bytes, organization: bytes, strict: bool) -> "Search[bool]":
        if domain == author:
            return True
        if strict or not (domain == organization or domain.endswith(b"." + organization)):
            return False
        return (yield from self.organization(domain)) == organization

    # --- records

    def _policy_record(self, author: bytes, organization: bytes) -> "Search[tuple[bytes, DmarcRecord | None]]":
        """Return the record that applies and its domain: of the author, the organization, or the public suffix."""
        places = [author] if author == organization else [author, organization]
        if self._public_suffix is None:
            places.append(organization.partition(b".")[2])
        for place in places:
            record = (yield from self._record(place)) if place else None
            if record is not None and (place in (author, organization) or record.psd == b"y"):
                return place, record
        return b"", None

    def organization(self, domain: bytes) -> "Search[bytes]":
        """Return the domain of the organization that `domain` belongs to."""
        if self._public_suffix is not None:
            return self._public_suffix(domain)
        chosen = domain
        for place in walk(domain):
            record = yield from self._record(place)
            if record is None:
                continue
            if record.psd == b"n":
                return place
            if record.psd == b"y" and place != domain:
                labels = place.count(b".") + 2
                return b".".join(domain.split(b".")[-labels:])
            chosen = place
            if record.psd == b"y":
                # The walk began at a public suffix, which is its own organization.
                return place
        return chosen

    def known_organization(self, domain: bytes) -> "Search[bytes]":
        """Return the organization as `organization`; b"" where a question got no answer."""
        try:
            return (yield from self.organization(domain))
        except _Unanswered:
            return b""

    def _record(self, domain: bytes) -> "Search[DmarcRecord | None]":
        answer = self._answers.get(domain)
        if answer is None:
            (answer,) = yield [(TXT, b"_dmarc." + domain)]
            self._answers[domain] = answer
        if answer.is_temporary:
            raise _Unanswered
        return single_record(answer.texts)

    def _misses(self, domain: bytes) -> "Search[bool]":
        """Return whether a domain does not exist; one with any record, or any name below it, does."""
        (answer,) = yield [(A, domain)]
        if answer.is_temporary:
            raise _Unanswered
        return answer.is_missing


def _severity(found: DmarcResult) -> tuple[int, int]:
    return _RANK[found.result], POLICIES.index(found.policy)


_RANK = {PASS: 0, NONE: 1, PERMERROR: 2, TEMPERROR: 3, FAIL: 4}


def walk(domain: bytes) -> list[bytes]:
    """Return the domains whose records are asked for, from the domain up to its top level."""
    labels = domain.split(b".")
    places = [domain]
    labels = labels[1:] if len(labels) < MAX_WALK else labels[1 - MAX_WALK :]
    while labels:
        places.append(b".".join(labels))
        labels = labels[1:]
    return places
