"""Rules for TCP connections."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.tcpserver.rules import LENGTHS, BadRule, database_records, keys_for, parse_record


def records(*lines: bytes) -> list[tuple[bytes, bytes]]:
    return list(database_records([line + b"\n" for line in lines]))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"1.2.3.4:deny", [(b"1.2.3.4", b"D\0")]),
        (b'127.:allow,RELAYCLIENT="",X=/a"b/', [(b"127.", b'+RELAYCLIENT=\0+X=a"b\0')]),
        (b"joe@1.2.3.4-5:allow", [(b"joe@1.2.3.4-5", b"")]),
        (b"=a-b.org:allow", [(b"=a-b.org", b"")]),
        (b"10.2-3.:deny", [(b"10.2.", b"D\0"), (b"10.3.", b"D\0")]),
        (b"1.2.3.254-999:allow", [(b"1.2.3.254", b""), (b"1.2.3.255", b"")]),
        (b"1.2.3.9-8:allow", []),
        (b"2001:db8::1:allow", [(b"2001:db8::1", b"")]),
        (b"::1:deny  \t", [(b"::1", b"D\0")]),
        (b"10.0.0.0/8:allow", [(b"10.", b"")]),
        (b"10.1.2.3/16:deny", [(b"10.1.", b"D\0")]),
        (b"172.16.0.0/15:allow", [(b"172.16.", b""), (b"172.17.", b"")]),
        (b"192.0.2.254/31:allow", [(b"192.0.2.254", b""), (b"192.0.2.255", b"")]),
        (b"192.0.2.1/32:allow", [(b"192.0.2.1", b"")]),
        (b"2001:DB8::1/32:allow", [(b"2001:db8::/32", b""), (b"/", b"32\0")]),
        (b"joe@10.0.0.0/8:allow", [(b"joe@10.0.0.0/8", b"")]),
        (b"# comment", []),
        (b"   ", []),
    ],
)
def test_a_line_gives_its_records(line: bytes, expected: list[tuple[bytes, bytes]]) -> None:
    assert records(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        b"1.2.3.4",
        b":permit",
        b":allowed",
        b":allow,A",
        b":allow,A=",
        b':allow,A="x',
        b":allow A=1",
        b"1.2.x-3:allow",
        b"1.2.3/24:deny",
        b"10.0.0.0/33:deny",
    ],
)
def test_an_invalid_line_is_reported(line: bytes) -> None:
    with pytest.raises(BadRule) as bad:
        records(line)
    assert bad.value.line == line


def test_a_record_is_read_back() -> None:
    rule = parse_record(b"D\0+A=b=c\0+E=\0")
    assert rule.denies
    assert rule.variables == {b"A": b"b=c", b"E": b""}


def test_keys_go_from_special_to_general() -> None:
    assert list(keys_for(b"10.0.0.1", b"a.b.org", b"joe")) == [
        b"joe@10.0.0.1",
        b"joe@=a.b.org",
        b"10.0.0.1",
        b"=a.b.org",
        b"10.0.0.",
        b"10.0.",
        b"10.",
        b"=.b.org",
        b"=.org",
        b"=",
        b"",
    ]


def test_an_unknown_name_is_not_looked_up() -> None:
    assert list(keys_for(b"fe80::1", None, None)) == [b"fe80::1", b"fe80::", b"fe80:", b""]


def test_networks_of_ipv6_are_looked_up_before_prefixes() -> None:
    (_, lengths) = records(b"::/0:deny", b"2001:db8::/32:allow", b"2001:db8:0:8000::/49:deny")[-1]
    assert list(keys_for(b"2001:db8::8001:0:0:1", None, None, lengths))[:5] == [
        b"2001:db8::8001:0:0:1",
        b"2001:db8::/49",
        b"2001:db8::/32",
        b"::/0",
        b"2001:db8::8001:0:0:",
    ]
    assert list(keys_for(b"10.0.0.1", None, None, lengths)) == [b"10.0.0.1", b"10.0.0.", b"10.0.", b"10.", b""]
    assert list(keys_for(b"fe80::1%eth0", None, None, lengths))[1] == b"fe80::/49"


@given(st.ip_addresses(), st.data())
def test_a_client_meets_the_rule_of_its_smallest_network(ip: IPv4Address | IPv6Address, data: st.DataObject) -> None:
    """Read back as the server does, against ipaddress."""
    sizes = data.draw(st.sets(st.integers(1, ip.max_prefixlen), min_size=1, max_size=4))
    networks = [ip_network((ip, size), strict=False) for size in sorted(sizes, reverse=True)]
    database = dict(reversed(records(*[f"{it}:allow,N=|{it}|".encode() for it in networks])))
    probe = data.draw(st.one_of(st.just(ip), st.ip_addresses(v=ip.version)))
    keys = keys_for(str(probe).encode(), None, None, database.get(LENGTHS, b""))
    found = next((database[key] for key in keys if key in database), None)
    expected = next((it for it in networks if probe in it), None)
    assert (found and parse_record(found).variables[b"N"]) == (expected and str(expected).encode())
