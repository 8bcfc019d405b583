"""Decide how well TLS must protect the way to one mail server, and say why.

| what is known                                                  | level         |
|----------------------------------------------------------------|---------------|
| a file in tlshosts                                             | authorities   |
| the sender's TLS-Required: No                                  | opportunistic |
| TLSA records, usable                                           | dane          |
| a policy of MTA-STS in mode enforce                            | sts           |
| the sender's REQUIRETLS, an exchanger proved by DNSSEC or STS  | verified      |
| TLSA records, unusable                                         | encrypted     |
| nothing of this                                                | opportunistic |

The first row counts, with two additions. Where DNSSEC does not prove the exchanger, its TLSA records do not replace
MTA-STS: both must hold. A message with REQUIRETLS goes only to an exchanger that is proved.

Fails: never; a server that must not get the message is an `UnusableServer`.
Source: RFC 7672 section 2.2; RFC 8461 sections 2 and 5; RFC 8689 sections 4.2.1 and 5.
"""

from eqmail_core.dns.tlsa import NO_TLSA
from eqmail_core.tls.client_policy import DANE, ENCRYPTED, OPPORTUNISTIC, STS, VERIFIED, TlsPolicy
from eqmail_core.tls.dane import usable
from eqmail_core.tls.mta_sts import ENFORCE, NONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.dns.tlsa import TlsaSet
    from eqmail_core.tls.mta_sts import StsPolicy


class UnusableServer:
    """A server that must not get the message; `is_permanent`: a retry would not help."""

    __slots__ = ("is_permanent", "reason")

    def __init__(self, reason: bytes, is_permanent: bool = False) -> None:
        self.reason = reason
        self.is_permanent = is_permanent


class TlsInputs:
    """What is known about a server `host` for mail to `domain`.

    `files`: what the administrator's files say. `is_listed_authentically`: DNSSEC proves that it is an exchanger.
    `requires_tls`: REQUIRETLS; `relaxes_tls`: TLS-Required: No.
    """

    __slots__ = ("domain", "files", "host", "is_listed_authentically", "relaxes_tls", "requires_tls", "sts", "tlsa")

    def __init__(
        self,
        domain: bytes,
        host: bytes,
        files: TlsPolicy,
        is_listed_authentically: bool = False,
        tlsa: "TlsaSet" = NO_TLSA,
        sts: "StsPolicy | None" = None,
        requires_tls: bool = False,
        relaxes_tls: bool = False,
    ) -> None:
        self.domain = domain
        self.host = host
        self.files = files
        self.is_listed_authentically = is_listed_authentically
        self.tlsa = tlsa
        self.sts = sts
        self.requires_tls = requires_tls
        self.relaxes_tls = relaxes_tls


def decide(known: TlsInputs) -> "TlsPolicy | UnusableServer":
    """Return the policy for the server, or why it must not get the message."""
    files = known.files
    if files.demanded_by:
        return files
    if not known.requires_tls:
        if known.relaxes_tls:
            return files.with_reason(b"the message says TLS-Required: No")
        if not files.is_wanted:
            return files
    if known.tlsa.is_unknown:
        return UnusableServer(b"its TLSA records cannot be looked up")
    sts = known.sts if known.sts is not None and known.sts.mode != NONE else None
    must_match = sts is not None and sts.mode == ENFORCE
    is_named = sts is not None and sts.names(known.host)
    records = usable(known.tlsa.records)
    has_dane_alone = bool(records) and known.is_listed_authentically
    if must_match and not is_named and not has_dane_alone:
        return UnusableServer(b"the MTA-STS policy of %b does not name it" % known.domain)
    if known.requires_tls and not (known.is_listed_authentically or is_named):
        text = b"REQUIRETLS: neither DNSSEC nor MTA-STS proves that it serves %b" % known.domain
        return UnusableServer(text, is_permanent=True)
    if records:
        base = known.tlsa.base
        names = (base, known.host.rstrip(b".").lower(), *([known.domain] if known.is_listed_authentically else []))
        why = b"TLSA records of %b" % base
        if must_match and not has_dane_alone:
            why += b" and MTA-STS policy of %b" % known.domain
        return TlsPolicy(
            True,
            is_implicit=files.is_implicit,
            level=DANE,
            why=why,
            tlsa=records,
            names=tuple(dict.fromkeys(names)),
            has_public_roots=must_match and not has_dane_alone,
        )
    if must_match:
        return _verified(files, STS, b"MTA-STS policy of %b" % known.domain)
    if known.requires_tls:
        return _verified(files, VERIFIED, b"REQUIRETLS of the sender")
    if known.tlsa.records:
        why = b"TLSA records of %b, none usable" % known.tlsa.base
        return TlsPolicy(True, is_implicit=files.is_implicit, level=ENCRYPTED, why=why)
    if files.level == OPPORTUNISTIC and sts is not None:
        return files.with_reason(b"MTA-STS policy of %b in mode testing" % known.domain)
    return files


def _verified(files: TlsPolicy, level: bytes, why: bytes) -> TlsPolicy:
    return TlsPolicy(True, is_implicit=files.is_implicit, level=level, why=why, has_public_roots=True)
