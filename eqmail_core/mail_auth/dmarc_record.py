"""DMARC policy records.

Source: RFC 9989 sections 4.7 and 4.8.
"""

import re

TYPE_CHECKING = False

NONE, QUARANTINE, REJECT = b"none", b"quarantine", b"reject"
POLICIES = (NONE, QUARANTINE, REJECT)

MAX_RECORD = 4096
"""Longest record that is read, in bytes."""

_VERSION = re.compile(rb"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|$)")
_WEAKER = {REJECT: QUARANTINE, QUARANTINE: NONE, NONE: NONE}
_URI = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x2b\x2d-\x3a\x3c-\x7e]+")


class DmarcRecord:
    """A record: policies for the domain, its subdomains and names that do not exist, alignment, and flags.

    `subdomain_policy` and `missing_policy` None: absent. `psd`: y, n or u. `has_policy`: whether it asks for anything.
    """

    __slots__ = (
        "has_policy",
        "is_testing",
        "missing_policy",
        "policy",
        "psd",
        "reports",
        "strict_dkim",
        "strict_spf",
        "subdomain_policy",
    )

    def __init__(self, tags: dict[bytes, bytes]) -> None:
        self.reports = [uri for uri in re.split(rb"[ \t]*,[ \t]*", tags.get(b"rua", b"")) if _URI.fullmatch(uri)]
        self.strict_dkim = tags.get(b"adkim", b"").lower() == b"s"
        self.strict_spf = tags.get(b"aspf", b"").lower() == b"s"
        psd = tags.get(b"psd", b"u").lower()
        self.psd = psd if psd in (b"y", b"n") else b"u"
        self.is_testing = tags.get(b"t", b"").lower() == b"y"
        policies = {name: tags[name].lower() for name in (b"p", b"sp", b"np") if name in tags}
        is_valid = b"p" in policies and all(policy in POLICIES for policy in policies.values())
        self.has_policy = is_valid or bool(self.reports)
        if not is_valid:
            # With an address for reports it asks for nothing but these.
            policies = {b"p": NONE}
        self.policy = policies[b"p"]
        self.subdomain_policy = policies.get(b"sp")
        self.missing_policy = policies.get(b"np")

    def policy_for(self, is_own: bool, is_missing: bool) -> bytes:
        """Return what the domain asks for.

        `is_own`: the record is that of the author's domain itself; `is_missing`: the author's domain does not exist.
        """
        policy = self.policy
        if not is_own:
            policy = policy if self.subdomain_policy is None else self.subdomain_policy
            if is_missing and self.missing_policy is not None:
                policy = self.missing_policy
        return _WEAKER[policy] if self.is_testing else policy


def parse_dmarc(text: bytes) -> DmarcRecord | None:
    """Read a TXT record; None if it is no DMARC record. Tags with errors do not count.

    Where a tag comes twice the first one counts.
    """
    if len(text) > MAX_RECORD or not _VERSION.match(text):
        return None
    tags: dict[bytes, bytes] = {}
    for part in text.split(b";"):
        name, equals, value = part.partition(b"=")
        if equals:
            tags.setdefault(name.strip(b" \t").lower(), value.strip(b" \t"))
    return DmarcRecord(tags)


def single_record(texts: "tuple[bytes, ...]") -> DmarcRecord | None:
    """Return the record of a name; none if there are two, which count as none."""
    found = [record for record in map(parse_dmarc, texts) if record is not None]
    return found[0] if len(found) == 1 else None
