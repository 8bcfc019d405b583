"""MX selection: the addresses for a host's mail in order of preference, and loop detection.

Each search is a generator: it yields lists of DNS questions, receives the answers in the same order, and returns the
result. So the same search runs on an event loop and in a blocking program.

The number of exchangers, and of addresses of each, is bounded, whatever a domain publishes.

Fails: TemporaryFailure and PermanentFailure, with the texts of qmail-remote.
Source: delivery.md 5.6; RFC 5321 section 5.1; RFC 7505 (null MX).
"""

from eqmail_core.dns.query import AAAA, CNAME, MX, A
from eqmail_core.mail.domain_name import ascii_domain
from eqmail_core.outcome import PermanentFailure, TemporaryFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Sequence
    from typing import TypeAlias, TypeVar

    from eqmail_core.dns.query import DnsAnswer, DnsQuestion

    Found = TypeVar("Found")
    Search: TypeAlias = Generator[list[DnsQuestion], list[DnsAnswer], Found]
    Literal: TypeAlias = Callable[[bytes], str | None]
    Shuffle: TypeAlias = Callable[[list[tuple[int, bytes]]], None]

MAX_ALIASES = 10
MAX_EXCHANGERS = 10
"""Most exchangers of a domain that are used, the best ones."""

MAX_ADDRESSES = 5
"""Most addresses of one host that are tried, for IPv6 and IPv4 each."""

_SAFE = bytes(byte if 33 <= byte <= 126 else 63 for byte in range(256))


class MxCandidate:
    """One address to try, with its exchanger's preference and name.

    `ip`: text form. `preference`: 0 is best. `is_listed_authentically`: DNSSEC proves that `name` is an exchanger.
    `is_authentic`: DNSSEC proves the address. `canonical`: what `name` is an alias of, b"" where it is none.
    """

    __slots__ = ("canonical", "ip", "is_authentic", "is_listed_authentically", "name", "preference")

    def __init__(
        self,
        ip: str,
        preference: int,
        name: bytes,
        is_listed_authentically: bool = False,
        is_authentic: bool = False,
        canonical: bytes = b"",
    ) -> None:
        self.ip = ip
        self.preference = preference
        self.name = name
        self.is_listed_authentically = is_listed_authentically
        self.is_authentic = is_authentic
        self.canonical = canonical


class Missing:
    """An exchanger without an address: preference, name, and whether a retry may help."""

    __slots__ = ("is_temporary", "name", "preference")

    def __init__(self, preference: int, name: bytes, is_temporary: bool) -> None:
        self.preference = preference
        self.name = name
        self.is_temporary = is_temporary


def exchangers(
    host: bytes, literal: "Literal", shuffle: "Shuffle"
) -> "Search[tuple[list[MxCandidate], list[Missing]]]":
    """Return the addresses of the exchangers of `host`, and the exchangers that have none.

    Best preference first, `shuffle`d among equals, IPv6 before IPv4.
    `literal(host)`: the address of an address literal such as [192.0.2.1], else None; an exchanger may be a literal.
    """
    if literal(host):
        return (yield from addresses(host, literal)), []
    (listing,) = yield [(MX, host)]
    if listing.is_temporary:
        raise _no_answer()
    if not listing.names:
        return (yield from addresses(host, literal, listing.is_authentic)), []
    if all(not name for _, name in listing.names):
        raise PermanentFailure(b"Sorry, %b does not accept mail. (#5.1.10)" % host.translate(_SAFE))
    ranked = list(listing.names)
    shuffle(ranked)
    ranked.sort(key=lambda item: item[0])
    del ranked[MAX_EXCHANGERS:]
    questions = [(kind, name) for _, name in ranked if not literal(name) for kind in (AAAA, A)]
    answers = iter((yield questions) if questions else [])
    found = []
    missing = []
    for preference, name in ranked:
        ip = literal(name)
        pair = () if ip else (next(answers), next(answers))
        is_listed = listing.is_authentic
        places = (
            [MxCandidate(ip, preference, name, is_listed)] if ip else _candidates(pair, preference, name, is_listed)
        )
        if places:
            found += places
        else:
            missing.append(Missing(preference, name, any(answer.is_temporary for answer in pair)))
    if not found:
        if any(it.is_temporary for it in missing) or len(ranked) < len(listing.names):
            raise _no_answer()
        raise PermanentFailure(b"Sorry, I couldn't find a mail exchanger or IP address. (#5.4.4)")
    return found, missing


def addresses(host: bytes, literal: "Literal", is_meant: bool = True) -> "Search[list[MxCandidate]]":
    """Return the addresses of `host` itself, IPv6 before IPv4.

    `is_meant`: nobody but its domain, or the administrator, can have made it the host to go to.
    """
    ip = literal(host)
    if ip:
        return [MxCandidate(ip, 0, host, is_meant)]
    answers = yield [(AAAA, host), (A, host)]
    found = _candidates(answers, 0, host, is_meant)
    if not found:
        if any(answer.is_temporary for answer in answers):
            raise _no_answer()
        raise PermanentFailure(b"Sorry, I couldn't find any host named %b. (#5.1.2)" % host.translate(_SAFE))
    return found


def _candidates(answers: "Sequence[DnsAnswer]", preference: int, name: bytes, is_listed: bool) -> "list[MxCandidate]":
    return [
        MxCandidate(ip, preference, name, is_listed, answer.is_authentic, answer.canonical)
        for answer in answers
        for ip in answer.addresses[:MAX_ADDRESSES]
    ]


def canonical_name(host: bytes) -> "Search[bytes]":
    """Return the canonical name of an alias; any other `host` is returned as it is.

    An address literal stays; an endless alias chain ends after MAX_ALIASES steps.
    """
    name = host
    for _ in range(MAX_ALIASES):
        name = name.rstrip(b".")
        if not name or name.endswith(b"]"):
            return name
        (answer,) = yield [(CNAME, ascii_domain(name))]
        if answer.is_temporary:
            raise TemporaryFailure(b"CNAME lookup failed temporarily. (#4.4.3)")
        if not answer.names:
            return name
        name = answer.names[0][1]
    return name


def without_loop(
    candidates: "list[MxCandidate]",
    own: "Collection[str]",
    missing: "Sequence[Missing]" = (),
    own_names: "Collection[bytes]" = (),
) -> "list[MxCandidate]":
    """Return the candidates with a better preference than this host, whose addresses are `own`.

    An exchanger named in `own_names` (in lower case) whose lookup failed temporarily is this host too.
    Fails: PermanentFailure if this host is the best exchanger; TemporaryFailure if a better one has no address, or its
    lookup failed temporarily.
    """
    places = [it.preference for it in candidates if is_own(it.ip, own)]
    places += [it.preference for it in missing if it.is_temporary and it.name.lower() in own_names]
    if not places:
        return candidates
    mine = min(places)
    better = [it for it in candidates if it.preference < mine]
    if better:
        return better
    if any(it.is_temporary and (it.preference < mine or it.name.lower() in own_names) for it in missing):
        raise _no_answer()
    if any(it.preference < mine for it in missing):
        raise TemporaryFailure(b"Sorry, I couldn't find a mail exchanger or IP address. (#4.4.4)")
    raise PermanentFailure(
        b"Sorry. Although I'm listed as a best-preference MX or A for that host,\n"
        b"it isn't in my control/locals file, so I don't treat it as local. (#5.4.6)"
    )


def is_own(ip: str, own: "Collection[str]") -> bool:
    """Return whether an address is among `own`, also in the form ::ffff:192.0.2.1."""
    return ip in own or ip.removeprefix("::ffff:") in own


def _no_answer() -> TemporaryFailure:
    return TemporaryFailure(b"Sorry, I couldn't find any host by that name. (#4.1.2)")
