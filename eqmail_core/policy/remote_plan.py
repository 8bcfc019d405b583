"""What is to be done about one remote delivery, before any connection is made: addresses in order, and the envelope.

Fails: Temporary and Permanent, in the words of qmail-remote.
Source: delivery.md 5.6.
"""

from eqmail_core.formats.quote import quote_box
from eqmail_core.policy.mx import addresses, canonical_name, exchangers, without_loop
from eqmail_core.policy.smtproutes import route_for
from eqmail_core.values.outcome import Permanent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from eqmail_core.formats.smtproutes import Route
    from eqmail_core.policy.mx import Candidate, Literal, Search, Shuffle


NO_CONTROLS = b"Unable to read control files. (#4.3.0)"
NO_CONNECTION = b"Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)"


class RemotePlan:
    """Candidates in order, the route that led to them, and the addresses as they go into MAIL and RCPT."""

    __slots__ = ("candidates", "recipients", "route", "sender")

    def __init__(self, candidates: "list[Candidate]", route: "Route", sender: bytes, recipients: list[bytes]) -> None:
        self.candidates = candidates
        self.route = route
        self.sender = sender
        self.recipients = recipients


class Surroundings:
    """What a plan needs to know of the world: literal addresses, our own ones, and chance."""

    __slots__ = ("literal", "own", "shuffle")

    def __init__(self, literal: "Literal", own: "Callable[[], Collection[str]]", shuffle: "Shuffle") -> None:
        self.literal = literal
        self.own = own
        self.shuffle = shuffle


def plan_delivery(
    host: bytes, sender: bytes, recipients: list[bytes], routes: "Mapping[bytes, bytes] | None", world: Surroundings
) -> "Search[RemotePlan]":
    """Search the addresses for mail to `recipients` at `host`; see `policy.mx` for how to run the search.

    By a route only the relay's own addresses count, recipients keep their hosts, and a loop is not looked for.
    Otherwise a recipient's host is replaced by its canonical name; when all were aliases, loops are not looked for.
    """
    for address in (sender, *recipients):
        if b"\n" in address or b"\r" in address:
            raise Permanent(b"Sorry, an address with a line break cannot be sent by SMTP. (#5.1.3)")
    route = route_for(routes, host)
    if route.relay:
        found = yield from addresses(route.relay, world.literal)
        return RemotePlan(found, route, _quoted(sender), [_quoted(recipient) for recipient in recipients])
    rewritten = []
    all_aliases = True
    for recipient in recipients:
        box, at, name = recipient.rpartition(b"@")
        if at:
            canonical = yield from canonical_name(name)
            all_aliases = all_aliases and canonical != name.rstrip(b".")
            recipient = quote_box(box) + b"@" + canonical
        rewritten.append(recipient)
    found = yield from exchangers(host, world.literal, world.shuffle)
    if not all_aliases:
        found = without_loop(found, world.own())
    return RemotePlan(found, route, _quoted(sender), rewritten)


def _quoted(address: bytes) -> bytes:
    box, at, host = address.rpartition(b"@")
    return quote_box(box) + b"@" + host if at else address
