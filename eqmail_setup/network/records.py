"""The DNS records that mail for a domain needs, made by one function each, and whether they are published.

New kinds of records are added in `RECORD_MAKERS` only: a maker yields the records of its kind for a domain.

Fails: never; what cannot be found out is left out or marked as a placeholder.
Source: RFC 1035 section 5 (zone files); RFC 5321 section 5; RFC 7208; RFC 9989; RFC 6186; RFC 8314; RFC 7672;
RFC 8460; RFC 8461.
"""

import ipaddress
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from eqmail_core.mail_auth.dkim_key import public_data

_DOCUMENTATION = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
_TXT_CHUNK = 255
_KEY = "._domainkey."

REQUIRED, RECOMMENDED, OPTIONAL = "required", "recommended", "optional"


class RecordContext(NamedTuple):
    """What the records depend on.

    `domain`: the one that gets them, `host`: the full name of this mail server.  `ipv4` and `ipv6`: its public
    addresses, "" where they are unknown.  `ports`: of the services that clients log in to, by SRV name, such as
    submission.  `tlsa`: the digest of the key of its certificate, "" for none.
    `dkim`: name and text of the record of each key that signs or will.
    """

    domain: str
    host: str
    ipv4: str
    ipv6: str
    ports: dict[str, int]
    tlsa: str = ""
    dkim: tuple[tuple[str, str], ...] = ()


class DnsRecord(NamedTuple):
    """One record; `value` is as in a zone file, except for TXT, whose value is the bare text.

    `level`: whether mail needs it.  `is_placeholder`: the administrator fills it in.  `by`: its publisher, ""
    for the zone of the domain.
    """

    name: str
    kind: str
    value: str
    level: str = REQUIRED
    note: str = ""
    is_placeholder: bool = False
    by: str = ""

    def zone_line(self) -> str:
        """The record as a line of a zone file; a comment where it is not for the zone, or not yet complete."""
        value = _quoted(self.value) if self.kind == "TXT" else self.value
        line = f"{self.name}. IN {self.kind} {value}"
        if self.by or self.is_placeholder:
            line = f"; {line}"
        return f"{line} ; {self.note}" if self.note else line


RecordMaker = Callable[[RecordContext], Iterator[DnsRecord]]


def _addresses(context: RecordContext) -> Iterator[DnsRecord]:
    if not _is_in_zone(context):
        return
    for kind, address, example in (("A", context.ipv4, "192.0.2.1"), ("AAAA", context.ipv6, "2001:db8::1")):
        if address:
            yield DnsRecord(context.host, kind, address)
        elif kind == "A" and not context.ipv6:
            yield DnsRecord(context.host, kind, example, note="the public address of this host", is_placeholder=True)


def _exchanger(context: RecordContext) -> Iterator[DnsRecord]:
    yield DnsRecord(context.domain, "MX", f"10 {context.host}.")


def _spf(context: RecordContext) -> Iterator[DnsRecord]:
    yield DnsRecord(context.domain, "TXT", "v=spf1 mx -all", RECOMMENDED)


def _dmarc(context: RecordContext) -> Iterator[DnsRecord]:
    value = f"v=DMARC1; p=none; rua=mailto:postmaster@{context.domain}"
    yield DnsRecord(f"_dmarc.{context.domain}", "TXT", value, RECOMMENDED)


def _dkim(context: RecordContext) -> Iterator[DnsRecord]:
    for name, text in context.dkim:
        yield DnsRecord(name, "TXT", text, RECOMMENDED)


def _services(context: RecordContext) -> Iterator[DnsRecord]:
    for service, port in context.ports.items():
        yield DnsRecord(f"_{service}._tcp.{context.domain}", "SRV", f"0 1 {port} {context.host}.", OPTIONAL)


def _tlsa(context: RecordContext) -> Iterator[DnsRecord]:
    if context.tlsa and _is_in_zone(context):
        note = "only where the zone is signed (DNSSEC)"
        yield DnsRecord(f"_25._tcp.{context.host}", "TLSA", f"3 1 1 {context.tlsa}", OPTIONAL, note, True)


def _transport_policy(context: RecordContext) -> Iterator[DnsRecord]:
    note = f"only with a policy at https://mta-sts.{context.domain}/.well-known/mta-sts.txt"
    yield DnsRecord(f"_mta-sts.{context.domain}", "TXT", "v=STSv1; id=1", OPTIONAL, note, True)


def _transport_reports(context: RecordContext) -> Iterator[DnsRecord]:
    value = f"v=TLSRPTv1; rua=mailto:postmaster@{context.domain}"
    yield DnsRecord(f"_smtp._tls.{context.domain}", "TXT", value, OPTIONAL)


def _pointer(context: RecordContext) -> Iterator[DnsRecord]:
    for address in (context.ipv4, context.ipv6):
        if address:
            name = ipaddress.ip_address(address).reverse_pointer
            yield DnsRecord(name, "PTR", f"{context.host}.", by="whoever provides the address")


RECORD_MAKERS: dict[str, RecordMaker] = {
    "address": _addresses,
    "mx": _exchanger,
    "spf": _spf,
    "dkim": _dkim,
    "dmarc": _dmarc,
    "srv": _services,
    "tlsa": _tlsa,
    "mta-sts": _transport_policy,
    "tlsrpt": _transport_reports,
    "ptr": _pointer,
}
"""Every kind of record by its name, in the order in which they are shown."""


def records_for(context: RecordContext) -> list[DnsRecord]:
    """All records of a domain."""
    return [record for make in RECORD_MAKERS.values() for record in make(context)]


def zone_text(context: RecordContext) -> str:
    """The records as a zone file."""
    lines = [f"; records for {context.domain}, whose mail server is {context.host}"]
    records = records_for(context)
    lines += [record.zone_line() for record in records if not record.by]
    for record in records:
        if record.by:
            lines.append(f"; to be published by {record.by}: {record.name} {record.kind} {record.value}")
    return "".join(f"{line}\n" for line in lines)


def public_address(family: socket.AddressFamily) -> str:
    """The address from which this host would reach the Internet, if it can be reached there; nothing is sent."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((_DOCUMENTATION[family], 9))
            address = str(sock.getsockname()[0])
        except OSError:
            return ""
    return address if ipaddress.ip_address(address).is_global else ""


class RecordState(NamedTuple):
    """Whether a record is published: "ok", "missing", "different" or "unknown"; `found` is what DNS has instead."""

    record: DnsRecord
    state: str
    found: tuple[str, ...] = ()


def check_records(
    records: Iterable[DnsRecord], query: Callable[[str, str], list[str]], fails: type[Exception]
) -> list[RecordState]:
    """Look each record up; `query(name, kind)` gives the texts of records, and raises `fails` without an answer."""
    found = []
    for record in records:
        if record.is_placeholder and record.kind in ("A", "AAAA"):
            found.append(RecordState(record, "unknown"))
            continue
        try:
            texts = query(record.name, record.kind)
        except fails:
            found.append(RecordState(record, "unknown"))
            continue
        # What only some zones have, such as TLSA, has to be right where it is published.
        state = "unknown" if record.is_placeholder and not texts else _state(record, texts)
        found.append(RecordState(record, state, tuple(texts)))
    return found


def _state(record: DnsRecord, texts: list[str]) -> str:
    if record.kind == "TXT" and _KEY in record.name:
        wanted_key = public_data(record.value.encode())
        is_there = any(public_data(text.encode()) == wanted_key for text in texts)
        return "ok" if is_there else "different" if texts else "missing"
    if record.kind == "TXT":
        # Another policy of the same kind is the administrator's own.
        tag = record.value.split()[0].rstrip(";").lower()
        return "ok" if any(text.lower().startswith(tag) for text in texts) else "missing"
    if not texts:
        return "missing"
    wanted = _plain(record.value)
    if record.kind == "MX":
        return "ok" if any(_plain(text).split()[-1:] == wanted.split()[-1:] for text in texts) else "different"
    return "ok" if wanted in map(_plain, texts) else "different"


def _plain(value: str) -> str:
    return value.lower().rstrip(".")


def _is_in_zone(context: RecordContext) -> bool:
    """Whether the name of the host lies in the zone of the domain."""
    return context.host == context.domain or context.host.endswith(f".{context.domain}")


def _quoted(value: str) -> str:
    parts = [value[at : at + _TXT_CHUNK] for at in range(0, len(value), _TXT_CHUNK)] or [""]
    return " ".join('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in parts)
