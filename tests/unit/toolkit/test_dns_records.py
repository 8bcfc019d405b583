"""The DNS records of a domain, as zone text, and what counts as published."""

import pytest

from eqmail_setup.network.records import (
    RECORD_MAKERS,
    DnsRecord,
    RecordContext,
    check_records,
    records_for,
    zone_text,
)

HOST = RecordContext("example.org", "mail.example.org", "198.51.100.7", "", {"submissions": 465}, "ab" * 32)


class Silence(Exception):
    """No answer."""


def states(context: RecordContext, zone: dict[tuple[str, str], list[str]]) -> dict[tuple[str, str], str]:
    def query(name: str, kind: str) -> list[str]:
        if (name, kind) == ("example.org", "silent"):
            raise Silence
        return zone.get((name, kind), [])

    found = check_records(records_for(context), query, Silence)
    return {(it.record.name, it.record.kind): it.state for it in found}


def test_a_zone_has_every_kind_of_record() -> None:
    assert zone_text(HOST).splitlines() == [
        "; records for example.org, whose mail server is mail.example.org",
        "mail.example.org. IN A 198.51.100.7",
        "example.org. IN MX 10 mail.example.org.",
        'example.org. IN TXT "v=spf1 mx -all"',
        '_dmarc.example.org. IN TXT "v=DMARC1; p=none; rua=mailto:postmaster@example.org"',
        "_submissions._tcp.example.org. IN SRV 0 1 465 mail.example.org.",
        f"; _25._tcp.mail.example.org. IN TLSA 3 1 1 {'ab' * 32} ; only where the zone is signed (DNSSEC)",
        '; _mta-sts.example.org. IN TXT "v=STSv1; id=1" ; '
        "only with a policy at https://mta-sts.example.org/.well-known/mta-sts.txt",
        '_smtp._tls.example.org. IN TXT "v=TLSRPTv1; rua=mailto:postmaster@example.org"',
        "; to be published by whoever provides the address: 7.100.51.198.in-addr.arpa PTR mail.example.org.",
    ]


def test_ports_that_nothing_serves_are_not_published() -> None:
    assert "SRV" not in zone_text(HOST._replace(ports={}))


def test_another_domain_has_no_address_of_the_host() -> None:
    kinds = {record.kind for record in records_for(HOST._replace(domain="example.net"))}
    assert kinds == {"MX", "TXT", "SRV", "PTR"}


def test_an_unknown_address_is_a_placeholder() -> None:
    lines = zone_text(HOST._replace(ipv4="")).splitlines()
    assert lines[1] == "; mail.example.org. IN A 192.0.2.1 ; the public address of this host"


def test_a_long_text_is_split_and_quoted() -> None:
    line = DnsRecord("a.example", "TXT", 'x"' * 200).zone_line()
    parts = line.partition("TXT ")[2].split('" "')
    assert len(parts) == 2 and '\\"' in line
    assert max(len(part.strip('"').replace("\\", "")) for part in parts) <= 255


@pytest.mark.parametrize(
    ("key", "texts", "state"),
    [
        (("example.org", "MX"), ["5 MAIL.example.org"], "ok"),
        (("example.org", "MX"), ["10 other.example.org"], "different"),
        (("example.org", "MX"), [], "missing"),
        (("example.org", "TXT"), ["v=spf1 a mx ~all"], "ok"),
        (("example.org", "TXT"), ["other text"], "missing"),
        (("mail.example.org", "A"), ["198.51.100.7"], "ok"),
        (("mail.example.org", "A"), ["198.51.100.8"], "different"),
        (("7.100.51.198.in-addr.arpa", "PTR"), ["mail.example.org"], "ok"),
        (("_25._tcp.mail.example.org", "TLSA"), [], "unknown"),
        (("_25._tcp.mail.example.org", "TLSA"), ["3 1 1 " + "AB" * 32], "ok"),
        (("_25._tcp.mail.example.org", "TLSA"), ["3 1 1 " + "cd" * 32], "different"),
        (("_smtp._tls.example.org", "TXT"), ["v=TLSRPTv1; rua=https://reports.example"], "ok"),
        (("_mta-sts.example.org", "TXT"), ["v=STSv1; id=20260101"], "ok"),
    ],
)
def test_published_records_are_distinguished_from_missing_ones(
    key: tuple[str, str], texts: list[str], state: str
) -> None:
    assert states(HOST, {key: texts})[key] == state


@pytest.mark.parametrize(
    ("texts", "state"),
    [(["v=DKIM1; k=rsa; p=AAAA"], "ok"), (["v=DKIM1; k=rsa; p=BBBB"], "different"), ([], "missing")],
)
def test_the_record_of_another_key_is_no_record_of_this_one(texts: list[str], state: str) -> None:
    name = "r1._domainkey.example.org"
    context = HOST._replace(dkim=((name, "v=DKIM1; k=rsa; p=AAAA"),))
    assert states(context, {(name, "TXT"): texts})[(name, "TXT")] == state


def test_silence_is_neither_missing_nor_ok() -> None:
    context = HOST._replace(ports={})
    record = DnsRecord("example.org", "silent", "")

    def query(name: str, kind: str) -> list[str]:
        raise Silence

    assert [it.state for it in check_records([record], query, Silence)] == ["unknown"]
    assert set(RECORD_MAKERS) >= {"address", "mx", "spf", "ptr"} and context.ports == {}
