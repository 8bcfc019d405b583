"""Search the TLSA records of a mail server, only where DNSSEC protects the way to it.

The search is a generator, as in `dns.mx`.

Fails: never; trouble that may pass is `IS_UNKNOWN`.
Source: RFC 7672 sections 2.1.2 and 2.2.
"""

from eqmail_core.dns.query import CNAME, TLSA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.dns.mx import MxCandidate, Search
    from eqmail_core.dns.query import TlsaRecord


class TlsaSet:
    """The TLSA records of a server.

    `records`: empty where none are published, or where DNSSEC does not protect them. `base`: the host name that they
    belong to. `is_unknown`: they could not be looked up; nobody may be trusted in their place.
    """

    __slots__ = ("base", "is_unknown", "records")

    def __init__(self, base: bytes = b"", records: "tuple[TlsaRecord, ...]" = (), is_unknown: bool = False) -> None:
        self.base = base
        self.records = records
        self.is_unknown = is_unknown


NO_TLSA = TlsaSet()


def tlsa_set(candidate: "MxCandidate", port: int) -> "Search[TlsaSet]":
    """Return the TLSA records of a candidate's server at `port`.

    The name at the end of its aliases comes before its own, if DNSSEC proves them all; if its own alias alone is
    proved, only its own name counts.
    """
    host = candidate.name.rstrip(b".").lower()
    if candidate.is_authentic:
        bases = [candidate.canonical.lower(), host] if candidate.canonical else [host]
    elif candidate.canonical:
        (alias,) = yield [(CNAME, host)]
        if alias.is_temporary:
            return TlsaSet(host, is_unknown=True)
        if not (alias.is_authentic and alias.names):
            return NO_TLSA
        bases = [host]
    else:
        return NO_TLSA
    for base in bases:
        (answer,) = yield [(TLSA, b"_%d._tcp.%b" % (port, base))]
        if answer.is_temporary:
            return TlsaSet(base, is_unknown=True)
        if answer.is_authentic and answer.tlsa:
            return TlsaSet(base, answer.tlsa)
    return NO_TLSA
