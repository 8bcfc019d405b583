"""Whether a recipient is accepted now or at a later attempt (greylisting).

A sender that is not known is asked to come back (451 4.7.1): servers do, many programs that send spam do not. It is
known by its network and, where SPF passes, by its domain; one that has come back often enough is not asked any more.

Not concerned: clients that may relay or have logged in. Trouble with the database counts for the sender.

Source: RFC 6647.
"""

from eqmail_core.access.client_network import client_network
from eqmail_core.mail_auth.spf import PASS, check_sender
from eqmail_core.smtpd.policy.requests import CheckGreylist, RunSearch
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import Decision

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from eqmail_core.smtpd.policy.requests import PendingDecision

PASSED, DEFERRED = b"P", b"D"
"""Answers to a CheckGreylist: the sender is known or has waited long enough; it has to come back."""

MAX_ADDRESS = 256
"""Bytes of an address that count."""


class Greylist:
    """Greylisting on a port.

    `path`: of the database; `delay_s`: until a second attempt counts; `host`: the name of this host; `clock()`: seconds
    since the epoch.
    """

    __slots__ = ("clock", "delay_s", "host", "path")

    def __init__(self, path: str, delay_s: int, host: bytes, clock: "Callable[[], float]") -> None:
        self.path = path
        self.delay_s = delay_s
        self.host = host
        self.clock = clock

    def decide(self, ip: bytes, helo: bytes, sender: bytes, recipient: bytes, accepted: Decision) -> "PendingDecision":
        """Let an accepted recipient pass, or defer it; `ip`, `helo`: address and HELO name of the client."""
        sender, recipient = sender[:MAX_ADDRESS].lower(), recipient[:MAX_ADDRESS].lower()
        network = origin_of(ip)
        if (yield CheckGreylist(self.path, network, sender, recipient, self.delay_s, only_looks=True)) == PASSED:
            return accepted
        search = check_sender(ip, sender, helo, self.host, int(self.clock()))
        spf = yield RunSearch(search)
        domain = getattr(spf, "domain", b"") if getattr(spf, "result", b"") == PASS else b""
        answer = yield CheckGreylist(self.path, domain or network, sender, recipient, self.delay_s)
        return Decision(False, [reply.GREYLISTED], note=b"greylisted") if answer == DEFERRED else accepted


def origin_of(ip: bytes) -> bytes:
    """Return the network by which a client is known: the /24 of an IPv4 address, the /64 of an IPv6 address."""
    network = client_network(ip)
    head, dot, last = network.rpartition(b".")
    return b"%b.0/24" % head if dot and last.isdigit() else network
