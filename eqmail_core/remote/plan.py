"""Plan one remote delivery before any connection: addresses in order, and the envelope.

Fails: TemporaryFailure and PermanentFailure, in the words of qmail-remote.
Source: delivery.md 5.6.
"""

from eqmail_core.dns.mx import addresses, canonical_name, exchangers, without_loop
from eqmail_core.mail.address import quote_box
from eqmail_core.mail.domain_name import ascii_domain
from eqmail_core.outcome import PermanentFailure, TemporaryFailure
from eqmail_core.remote.routes import route_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from eqmail_core.dns.mx import Literal, MxCandidate, Search, Shuffle
    from eqmail_core.remote.routes import Route
    from eqmail_core.smtp.client import SmtpClient
    from eqmail_core.tls.policy import UnusableServer


NO_CONTROLS = b"Unable to read control files. (#4.3.0)"
NO_CONNECTION = b"Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)"


MAX_HEADER = 1 << 20
"""Maximum number of header bytes that are examined."""

MAX_REASONS = 3
"""Maximum number of addresses whose failure a report names."""

_SAFE = bytes(byte if 33 <= byte <= 126 else 63 for byte in range(256))


class Attempts:
    """The reasons why none of the tried addresses accepted the message.

    `last_reply`: the reply of a server that accepts no session now.
    """

    __slots__ = ("_has_other_reasons", "_more", "_permanent", "_reasons", "last_reply")

    def __init__(self) -> None:
        self._reasons: list[bytes] = []
        self._more = 0
        self._permanent = b""
        self._has_other_reasons = False
        self.last_reply = b""

    def record_unusable(self, candidate: "MxCandidate", port: int, server: "UnusableServer") -> None:
        """Record that this server must not get the message."""
        if server.is_permanent:
            self._permanent = server.reason
            self._record(candidate, port, server.reason)
        else:
            self.record_failed(candidate, port, server.reason)

    def record_refusal(self, client: "SmtpClient") -> None:
        """Record that a server accepts no session now, or not this message (`lacks_requiretls`)."""
        self.last_reply = client.said
        if client.lacks_requiretls:
            self._permanent = client.said.rstrip(b"\n")
        else:
            self._has_other_reasons = True

    def record_skipped(self, candidate: "MxCandidate", port: int) -> None:
        """Record that this address was skipped, because it recently timed out."""
        self.record_failed(candidate, port, b"not tried, as it did not answer before")

    def record_failed(self, candidate: "MxCandidate", port: int, reason: bytes) -> None:
        """Record that the connection to this address failed."""
        self._has_other_reasons = True
        self._record(candidate, port, reason)

    def _record(self, candidate: "MxCandidate", port: int, reason: bytes) -> None:
        if len(self._reasons) == MAX_REASONS:
            self._more += 1
            return
        host = candidate.name.translate(_SAFE)
        ip = candidate.ip.encode()
        self._reasons.append(b"%b port %d: %b" % (ip if host == ip else b"%b %b" % (host, ip), port, reason))

    @property
    def failure(self) -> "TemporaryFailure | PermanentFailure":
        """Return the failure to report: C's text, followed by the reasons.

        It is permanent if no server may ever get the message.
        """
        if self._permanent and not self._has_other_reasons:
            return PermanentFailure(
                b"Sorry, no server of the domain takes it as its sender requires: %b. (#5.7.30)" % self._permanent
            )
        more = [b"%d more" % self._more] if self._more else []
        reasons = b" (%b)" % b"; ".join(self._reasons + more) if self._reasons else b""
        reply = b"\n" + self.last_reply.rstrip(b"\n") if self.last_reply else b""
        return TemporaryFailure(NO_CONNECTION + reasons + reply)


class RemotePlan:
    """Candidates in order, their route, and the addresses for MAIL and RCPT.

    `domain`: whose servers they are, in lower case; that of the mail, or the relay.
    """

    __slots__ = ("candidates", "domain", "recipients", "route", "sender")

    def __init__(
        self, domain: bytes, candidates: "list[MxCandidate]", route: "Route", sender: bytes, recipients: list[bytes]
    ) -> None:
        self.domain = domain
        self.candidates = candidates
        self.route = route
        self.sender = sender
        self.recipients = recipients


class PlanEnvironment:
    """The environment of a plan: literal addresses, this host's own addresses, and random order."""

    __slots__ = ("literal", "own", "shuffle")

    def __init__(self, literal: "Literal", own: "Callable[[], Collection[str]]", shuffle: "Shuffle") -> None:
        self.literal = literal
        self.own = own
        self.shuffle = shuffle


def names_of_this_host(*names: bytes | None) -> frozenset[bytes]:
    """Return the names of this host for comparison with exchangers.

    Names that are not set are dropped.
    """
    return frozenset(ascii_domain(name).lower() for name in names if name)


def plan_delivery(
    host: bytes,
    sender: bytes,
    recipients: list[bytes],
    routes: "Mapping[bytes, bytes] | None",
    environment: PlanEnvironment,
    own_names: "Collection[bytes]" = (),
) -> "Search[RemotePlan]":
    """Search the addresses for mail to `recipients` at `host`.

    See `dns.mx` for how to run the search.
    Non-ASCII hosts are looked up as A-labels; the envelope addresses stay unchanged (RFC 6531 section 3.2).
    With a route only the relay's own addresses count, recipients keep their hosts, and loops are not checked.
    Otherwise a recipient's host is replaced by its canonical name; if all were aliases, loops are not checked.
    """
    for address in (sender, *recipients):
        if b"\n" in address or b"\r" in address:
            raise PermanentFailure(b"Sorry, an address with a line break cannot be sent by SMTP. (#5.1.3)")
    route = route_for(routes, host)
    if route.relay:
        relay = ascii_domain(route.relay)
        found = yield from addresses(relay, environment.literal)
        return RemotePlan(
            relay.lower(), found, route, _quoted(sender), [_quoted(recipient) for recipient in recipients]
        )
    rewritten = []
    all_aliases = True
    for recipient in recipients:
        box, at, name = recipient.rpartition(b"@")
        if at:
            canonical = yield from canonical_name(name)
            all_aliases = all_aliases and canonical != name.rstrip(b".")
            recipient = quote_box(box) + b"@" + canonical
        rewritten.append(recipient)
    domain = ascii_domain(host)
    found, missing = yield from exchangers(domain, environment.literal, environment.shuffle)
    if not all_aliases:
        found = without_loop(found, environment.own(), missing, own_names)
    return RemotePlan(domain.lower(), found, route, _quoted(sender), rewritten)


def needs_utf8(plan: RemotePlan, pieces: "Iterable[bytes]") -> bool:
    """Whether a message needs SMTPUTF8: non-ASCII envelope or header (RFC 6531 section 3.6).

    `pieces`: the message from its beginning; a header that has no end within MAX_HEADER bytes counts as non-ASCII.
    Fails: as reading them does.
    """
    if not all(address.isascii() for address in (plan.sender, *plan.recipients)):
        return True
    size = 0
    before = b""
    for piece in pieces:
        header, end, _ = (before + piece).partition(b"\n\n")
        size += len(piece)
        if not header.isascii() or (size > MAX_HEADER and not end):
            return True
        if end:
            return False
        before = piece[-1:]
    return False


def _quoted(address: bytes) -> bytes:
    box, at, host = address.rpartition(b"@")
    return quote_box(box) + b"@" + host if at else address
