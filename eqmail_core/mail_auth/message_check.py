"""All checks of one received message: SPF, DKIM, ARC and DMARC, their results in words, and what follows from them.

Fails: never; every error is a result.
Source: RFC 8601 section 2.7 (methods and properties); RFC 9989 section 5.
"""

from eqmail_core.dns.parallel import together
from eqmail_core.mail_auth.arc import ArcVerifier
from eqmail_core.mail_auth.auth_results import InvalidResults, MethodResult, parse_results
from eqmail_core.mail_auth.authors import author_domains
from eqmail_core.mail_auth.dkim_verify import NONE, PASS, TEMPERROR, DkimVerifier
from eqmail_core.mail_auth.dmarc import FAIL, DmarcCheck, Identifier
from eqmail_core.mail_auth.dmarc_record import QUARANTINE, REJECT
from eqmail_core.mail_auth.spf import check_sender

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from eqmail_core.dns.mx import Search
    from eqmail_core.mail_auth.arc import ArcResult
    from eqmail_core.mail_auth.dkim_verify import DkimResult
    from eqmail_core.mail_auth.dmarc import DmarcResult, PublicSuffix
    from eqmail_core.mail_auth.spf import SpfResult

KEEP, DEFER = b"keep", b"defer"
"""What follows from the checks, besides QUARANTINE and REJECT."""

_PREFIX = 8
"""Characters of a signature that identify it (RFC 6008)."""


class MessageSource:
    """Where a message comes from: the client's address and HELO name, the envelope sender, and this host's name."""

    __slots__ = ("helo", "host", "ip", "sender")

    def __init__(self, ip: bytes, helo: bytes, sender: bytes, host: bytes) -> None:
        self.ip = ip
        self.helo = helo
        self.sender = sender
        self.host = host

    def spf(self, now: int) -> "Search[SpfResult]":
        """Check the sender by SPF."""
        return check_sender(self.ip, self.sender, self.helo, self.host, now)


class CheckedMessage:
    """The results for one message, and what the policy of its author's domain asks for.

    `action`: KEEP, QUARANTINE, REJECT or DEFER; `dmarc`: the result that it follows from, which a trusted sealer may
    have overridden; `spf`, `dkim`: what that was made of.
    """

    __slots__ = ("action", "dkim", "dmarc", "is_overridden", "results", "spf")

    def __init__(
        self,
        results: "list[MethodResult]",
        action: bytes,
        dmarc: "DmarcResult",
        spf: "SpfResult",
        dkim: "list[DkimResult]",
        is_overridden: bool,
    ) -> None:
        self.results = results
        self.action = action
        self.dmarc = dmarc
        self.spf = spf
        self.dkim = dkim
        self.is_overridden = is_overridden


class MessageCheck:
    """The checks of one message: `feed` its body, then run `search`.

    `fields`: the header fields, each with its LF. `now`: seconds since the epoch. `sealers`: domains whose ARC results
    count in place of ours. `public_suffix`: as in `DmarcCheck`.
    """

    __slots__ = ("_arc", "_authors", "_dkim", "_now", "_public_suffix", "_sealers", "_source")

    def __init__(
        self,
        source: MessageSource,
        fields: "Sequence[bytes]",
        now: int,
        sealers: "Collection[bytes]" = (),
        public_suffix: "PublicSuffix | None" = None,
    ) -> None:
        self._source = source
        self._authors = author_domains(fields)
        self._dkim = DkimVerifier(fields, now)
        self._arc = ArcVerifier(fields)
        self._now = now
        self._sealers = sealers
        self._public_suffix = public_suffix

    @property
    def needs_body(self) -> bool:
        """Whether any signature covers the body."""
        return self._dkim.needs_body or self._arc.needs_body

    def feed(self, piece: bytes) -> None:
        """Add a piece of the body."""
        if self._dkim.needs_body:
            self._dkim.feed(piece)
        if self._arc.needs_body:
            self._arc.feed(piece)

    def search(self) -> "Search[CheckedMessage]":
        """Ask all questions and return the results; the body must be complete."""
        found = yield from together(self._source.spf(self._now), self._dkim.search(), self._arc.search())
        spf: SpfResult = found[0]
        dkim: list[DkimResult] = found[1]
        arc: ArcResult = found[2]
        identifiers = [Identifier(it.domain, it.result, True) for it in dkim]
        identifiers.append(Identifier(spf.domain, spf.result, False))
        dmarc = yield from DmarcCheck(self._public_suffix).check(self._authors, identifiers)
        override = dmarc.result == FAIL and self._is_vouched_for(arc)
        action = KEEP if override else _action(dmarc)
        results = [_spf_in_words(self._source, spf), *map(_dkim_in_words, dkim)]
        if not dkim:
            results.append(MethodResult(b"dkim", NONE))
        if arc.result != NONE:
            results.append(_arc_in_words(arc))
        results.append(_dmarc_in_words(dmarc, action, override))
        return CheckedMessage(results, action, dmarc, spf, dkim, override)

    def _is_vouched_for(self, arc: "ArcResult") -> bool:
        """Return whether the newest sealer is trusted, and found the message in order."""
        if arc.result != PASS or arc.sealers[0] not in self._sealers:
            return False
        try:
            _, results = parse_results(arc.results)
        except InvalidResults:
            return False
        return any(it.method == b"dmarc" and it.result == PASS for it in results)


def _action(dmarc: "DmarcResult") -> bytes:
    if dmarc.result == TEMPERROR:
        return DEFER if dmarc.record is None or dmarc.policy == REJECT else KEEP
    return dmarc.policy if dmarc.result == FAIL and dmarc.policy in (QUARANTINE, REJECT) else KEEP


def _spf_in_words(source: MessageSource, spf: "SpfResult") -> MethodResult:
    name = b"smtp." + spf.identity
    return MethodResult(b"spf", spf.result, [(name, source.sender or source.helo)], comment=spf.reason)


def _dkim_in_words(dkim: "DkimResult") -> MethodResult:
    properties = [(b"header.d", dkim.domain)] if dkim.domain else []
    comment = b""
    if dkim.signature is not None:
        signature = dkim.signature
        tags = signature.tags
        properties += [(b"header.s", signature.selector), (b"header.a", signature.algorithm)]
        if b"i" in tags:
            properties.append((b"header.i", tags[b"i"]))
        properties.append((b"header.b", tags[b"b"].translate(None, b" \t\r\n")[:_PREFIX]))
        if dkim.bits:
            comment = b"%d-bit key%b" % (dkim.bits, b", testing" if dkim.is_testing else b"")
    return MethodResult(b"dkim", dkim.result, properties, dkim.reason, comment)


def _arc_in_words(arc: "ArcResult") -> MethodResult:
    properties = [(b"header.d", sealer) for sealer in arc.sealers[:1]]
    return MethodResult(b"arc", arc.result, properties, arc.reason, b"%d seals" % len(arc.sealers))


def _dmarc_in_words(dmarc: "DmarcResult", action: bytes, override: bool) -> MethodResult:
    comment = b""
    if dmarc.record is not None:
        comment = b"p=%b dis=%b%b" % (dmarc.policy, action, b" arc=pass" if override else b"")
    properties = [(b"header.from", dmarc.domain)] if dmarc.domain else []
    return MethodResult(b"dmarc", dmarc.result, properties, dmarc.reason, comment)
