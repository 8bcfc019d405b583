"""DNS lists (DNSBL, DNSWL) about a client, and the decision made from them.

Queries start when the client connects, so that the answers are ready at its first recipient or before the greeting.
DNS errors never count against a client.

Source: control files dnsbl, dnswl, dnsblat; RFC 5782.
"""

from eqmail_core.control.smtp_settings import GREETING, LOG, RECIPIENT
from eqmail_core.dns.dnsbl_zone import DnsblZone, parse_zone, reversed_address
from eqmail_core.dns.query import A
from eqmail_core.smtpd.policy.requests import QueryDns
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import Decision

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from eqmail_core.dns.query import DnsAnswer, DnsQuestion
    from eqmail_core.smtpd.policy.requests import PendingDecision


class DnsblConfig:
    """The block lists and allow lists; invalid lines are in `ignored`."""

    __slots__ = ("_allowing", "_blocking", "at", "ignored")

    def __init__(self, blocking: "Iterable[bytes]", allowing: "Iterable[bytes]" = (), at: bytes = RECIPIENT) -> None:
        self.ignored: list[bytes] = []
        self._blocking = self._parsed(blocking)
        self._allowing = self._parsed(allowing)
        self.at = at

    def _parsed(self, lines: "Iterable[bytes]") -> list[DnsblZone]:
        zones = []
        for line in lines:
            try:
                zones.append(parse_zone(line))
            except ValueError:
                self.ignored.append(line)
        return zones

    def check_for(self, ip: bytes) -> "DnsblCheck":
        """Create the check of one client."""
        return DnsblCheck(self, ip)

    def questions(self, ip: bytes) -> "list[DnsQuestion]":
        """Return the questions about a client; none if its address is unknown."""
        name = reversed_address(ip)
        return [(A, name + b"." + zone.name) for zone in self._allowing + self._blocking] if name else []

    def decide(self, answers: "list[DnsAnswer]") -> DnsblZone | None:
        """Return the list that counts against the client, from the answers to `questions`."""
        zones = self._allowing + self._blocking
        listing = [zone for zone, answer in zip(zones, answers, strict=False) if zone.lists(answer.addresses)]
        return listing[0] if listing and listing[0] not in self._allowing else None


class DnsblCheck:
    """The check of one client: queried once, however many recipients it has."""

    __slots__ = ("_found", "_ip", "_is_known", "_lists")

    def __init__(self, lists: DnsblConfig, ip: bytes) -> None:
        self._lists = lists
        self._ip = ip
        self._is_known = False
        self._found: DnsblZone | None = None

    @property
    def is_met_at_greeting(self) -> bool:
        """Whether the answers are needed before the greeting."""
        return self._lists.at == GREETING

    def ahead(self) -> QueryDns:
        """Return the request that starts the queries early."""
        return QueryDns(self._lists.questions(self._ip), ahead=True)

    def decide(self, accepted: Decision) -> "PendingDecision":
        """Apply the lists to an accepted event."""
        if not self._is_known:
            answers = yield QueryDns(self._lists.questions(self._ip))
            self._found = self._lists.decide(answers) if isinstance(answers, list) else None
            self._is_known = True
        zone = self._found
        if zone is None:
            return accepted
        note = b"blocklisted (%b)" % zone.name
        if self._lists.at == LOG:
            self._found = None
            return Decision(True, accepted.lines, accepted.address, accepted.header, accepted.close, note)
        text = zone.text.replace(b"%i", self._ip) if zone.text else b""
        return Decision(False, [reply.listed(self._ip, zone.name, text)], close=self.is_met_at_greeting, note=note)
