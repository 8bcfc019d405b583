"""SPF: may this address send mail for this domain?  A search: questions out, answers in.

Counted are the terms that need the DNS (at most 10, over all included records), answers without records to them (at
most 2), and the names of one mx or ptr (at most 10).  The addresses of an exchanger are no terms of their own.

Fails: never; every error is a result.
Source: RFC 7208.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from eqmail_core.dns.query import AAAA, MX, PTR, TXT, A
from eqmail_core.mail.domain_name import ascii_domain
from eqmail_core.mail_auth.spf_macros import expand, expand_domain, macro_values, uses_validated_name
from eqmail_core.mail_auth.spf_record import (
    InvalidSpfRecord,
    SpfRecord,
    SpfTerm,
    check_macro_string,
    is_spf,
    parse_spf,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from eqmail_core.dns.mx import Search
    from eqmail_core.dns.query import DnsAnswer

PASS, FAIL, SOFTFAIL, NEUTRAL = b"pass", b"fail", b"softfail", b"neutral"
NONE, TEMPERROR, PERMERROR = b"none", b"temperror", b"permerror"

MAX_TERMS, MAX_EMPTY, MAX_NAMES = 10, 2, 10
"""Most terms that need the DNS, most of them without an answer, and most names of one mx or ptr."""


class SpfError(Exception):
    """The end of a check: TEMPERROR or PERMERROR, and why."""

    def __init__(self, result: bytes, reason: str) -> None:
        super().__init__(reason)
        self.result = result


class SpfResult:
    """The result, the domain that it is about, and why; `explanation` is what the domain says of a FAIL."""

    __slots__ = ("domain", "explanation", "identity", "reason", "result")

    def __init__(self, result: bytes, reason: bytes = b"", domain: bytes = b"") -> None:
        self.result = result
        self.reason = reason
        self.domain = domain
        self.identity = b"mailfrom"
        self.explanation = b""


def check_sender(ip: bytes, sender: bytes, helo: bytes, receiver: bytes, now: int) -> "Search[SpfResult]":
    """Check the envelope sender, or the HELO name for the null sender.

    `ip`: of the client. `receiver`: the name of this host. `now`: seconds since the epoch.
    """
    domain = sender.rpartition(b"@")[2] if sender else helo
    full = sender if b"@" in sender else b"postmaster@" + domain
    if full.startswith(b"@"):
        full = b"postmaster" + full
    try:
        address = _plain(ip_address(ip.decode("ascii")))
    except ValueError:
        return SpfResult(NONE, b"address of the client unknown", domain)
    domain = ascii_domain(domain).lower()
    checker = _Checker(address, full, helo, receiver, now)
    found = yield from checker.check(domain)
    found.domain = domain
    found.identity = b"mailfrom" if sender else b"helo"
    return found


def _plain(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return an IPv4 address in IPv6 form as an IPv4 address."""
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return mapped or ip


def is_domain(name: bytes) -> bool:
    """Return whether a name has two labels or more, none of them empty or too long."""
    labels = name.removesuffix(b".").split(b".")
    return len(labels) > 1 and len(name) <= 254 and all(0 < len(label) < 64 for label in labels)


class _Checker:
    """One check, with the counts over all records."""

    def __init__(self, ip: IPv4Address | IPv6Address, sender: bytes, helo: bytes, receiver: bytes, now: int) -> None:
        self._ip = ip
        self._kind = A if isinstance(ip, IPv4Address) else AAAA
        self._values = macro_values(ip, sender, helo, receiver, now)
        self._terms = 0
        self._empty = 0
        self._validated: bytes | None = None

    def check(self, domain: bytes) -> "Search[SpfResult]":
        """Check against the record of `domain`, and fetch the explanation of a FAIL."""
        try:
            result, reason, source = yield from self._evaluate(domain)
        except SpfError as error:
            return SpfResult(error.result, str(error).encode())
        found = SpfResult(result, reason)
        if result == FAIL and source is not None:
            found.explanation = yield from self._explanation(*source)
        return found

    def _evaluate(self, domain: bytes) -> "Search[tuple[bytes, bytes, tuple[bytes, SpfRecord] | None]]":
        """Return result, reason, and the record that decided with its domain."""
        record = yield from self._record(domain)
        if record is None:
            return NONE, b"no record", None
        while True:
            for term in record.terms:
                if (yield from _MATCHERS[term.name](self, term, domain)):
                    return term.result, term.text, (domain, record)
            if record.redirect is None:
                return NEUTRAL, b"no term matched", None
            self._count_term()
            domain = yield from self._name(record.redirect, domain)
            record = yield from self._record(domain)
            if record is None:
                raise SpfError(PERMERROR, "redirect to a domain without a record")

    def _record(self, domain: bytes) -> "Search[SpfRecord | None]":
        if not is_domain(domain):
            return None
        (answer,) = yield [(TXT, domain)]
        if answer.is_temporary:
            raise SpfError(TEMPERROR, "no answer to the question for the record")
        texts = [text for text in answer.texts if is_spf(text)]
        if not texts:
            return None
        if len(texts) > 1:
            raise SpfError(PERMERROR, "two records")
        try:
            return parse_spf(texts[0])
        except InvalidSpfRecord as error:
            raise SpfError(PERMERROR, str(error)) from error

    # --- counting

    def _count_term(self) -> None:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise SpfError(PERMERROR, "too many terms that need the DNS")

    def _ask(self, kind: str, name: bytes) -> "Search[DnsAnswer]":
        """Ask a question of a term; an answer without records counts."""
        (answer,) = yield [(kind, name)]
        if answer.is_temporary:
            raise SpfError(TEMPERROR, f"no answer to the question for {name[:100].decode('latin-1')}")
        if answer.is_empty:
            self._empty += 1
            if self._empty > MAX_EMPTY:
                raise SpfError(PERMERROR, "too many names without records")
        return answer

    # --- names

    def _name(self, text: bytes, domain: bytes) -> "Search[bytes]":
        """Return the name that a term means."""
        if not text:
            return domain
        return expand_domain(text, (yield from self._all_values(text, domain)))

    def _all_values(self, text: bytes, domain: bytes) -> "Search[dict[bytes, bytes]]":
        values = self._values | {b"d": domain, b"p": b"unknown"}
        if uses_validated_name(text):
            if self._validated is None:
                self._validated = yield from self._validated_name(domain)
            values[b"p"] = self._validated
        return values

    def _validated_name(self, domain: bytes) -> "Search[bytes]":
        """Return a name of the client that leads back to its address, best `domain` or one below it."""
        try:
            names = yield from self._client_names(counts=False)
        except SpfError:
            return b"unknown"
        for wanted in (lambda name: name == domain, lambda name: name.endswith(b"." + domain), lambda name: True):
            for name in names:
                if wanted(name):
                    return name
        return b"unknown"

    def _client_names(self, counts: bool = True) -> "Search[list[bytes]]":
        """Return the names of the client's address that lead back to it; errors of single names do not matter."""
        question = (PTR, self._ip.reverse_pointer.encode())
        if counts:
            answer = yield from self._ask(*question)
        else:
            (answer,) = yield [question]
        names = [name.lower() for _, name in answer.names[:MAX_NAMES]]
        answers = (yield [(self._kind, name) for name in names]) if names else []
        return [name for name, found in zip(names, answers, strict=True) if self._is_among(found, 32, 128)]

    def _is_among(self, answer: "DnsAnswer", prefix4: int, prefix6: int) -> bool:
        prefix = prefix4 if self._kind == A else prefix6
        return any(self._ip in ip_network((address, prefix), strict=False) for address in answer.addresses)

    # --- mechanisms

    def _matches_all(self, term: SpfTerm, domain: bytes) -> "Search[bool]":
        return True
        yield []

    def _matches_network(self, term: SpfTerm, domain: bytes) -> "Search[bool]":
        return term.network is not None and self._ip in term.network
        yield []

    def _matches_a(self, term: SpfTerm, domain: bytes) -> "Search[bool]":
        self._count_term()
        name = yield from self._name(term.domain, domain)
        answer = yield from self._ask(self._kind, name)
        return self._is_among(answer, term.prefix4, term.prefix6)

    def _matches_mx(self, term: SpfTerm, domain: bytes) -> "Search[bool]":
        self._count_term()
        name = yield from self._name(term.domain, domain)
        answer = yield from self._ask(MX, name)
        names = [host for _, host in answer.names if host]
        if len(names) > MAX_NAMES:
            raise SpfError(PERMERROR, "too many exchangers")
        answers = (yield [(self._kind, host) for host in names]) if names else []
        if any(self._is_among(found, term.prefix4, term.prefix6) for found in answers):
            return True
        if any(found.is_temporary for found in answers):
            raise SpfError(TEMPERROR, "no answer to the question for an exchanger")
        return False

    def _matches_ptr(self, term: SpfTerm, domain: bytes) -> "Search[bool]":
        self._count_term()
        wanted = (yield from self._name(term.domain, domain)).lower()
        try:
            names = yield from self._client_names()
        except SpfError as error:
            if error.result == PERMERROR:
                raise
            return False
        return any(name == wanted or name.endswith(b"." + wanted) for name in names)

    def _matches_exists(self, term: SpfTerm, domain: bytes) -> "Search[bool]":
        self._count_term()
        name = yield from self._name(term.domain, domain)
        answer = yield from self._ask(A, name)
        return bool(answer.addresses)

    def _matches_include(self, term: SpfTerm, domain: bytes) -> "Search[bool]":
        self._count_term()
        name = yield from self._name(term.domain, domain)
        result, _, _ = yield from self._evaluate(name.lower())
        if result == NONE:
            raise SpfError(PERMERROR, f"included {name[:100].decode('latin-1')} has no record")
        return result == PASS

    # --- explanation

    def _explanation(self, domain: bytes, record: SpfRecord) -> "Search[bytes]":
        if record.explanation is None:
            return b""
        name = yield from self._name(record.explanation, domain)
        if not is_domain(name):
            return b""
        (answer,) = yield [(TXT, name)]
        if len(answer.texts) != 1 or not answer.texts[0].isascii() or len(answer.texts[0]) > 500:
            return b""
        text = answer.texts[0]
        try:
            for word in text.split(b" "):
                check_macro_string(word)
        except InvalidSpfRecord:
            return b""
        return expand(text, (yield from self._all_values(text, domain)))


_MATCHERS: "dict[bytes, Callable[[_Checker, SpfTerm, bytes], Search[bool]]]" = {
    b"all": _Checker._matches_all,
    b"ip4": _Checker._matches_network,
    b"ip6": _Checker._matches_network,
    b"a": _Checker._matches_a,
    b"mx": _Checker._matches_mx,
    b"ptr": _Checker._matches_ptr,
    b"exists": _Checker._matches_exists,
    b"include": _Checker._matches_include,
}
