"""Lines that name a list in the DNS."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.dns.dnsbl_zone import parse_zone, reversed_address


@pytest.mark.parametrize(
    ("line", "name", "text"),
    [
        (b"zen.example", b"zen.example", b""),
        (b"  Zen.Example.  go away, %i ", b"zen.example", b"go away, %i"),
        (b"zen.example =127.0.0.2", b"zen.example", b""),
        (
            b"zen.example  =127.0.0.2,127.0.0.4/30 see https://zen.example/?%i",
            b"zen.example",
            b"see https://zen.example/?%i",
        ),
    ],
)
def test_zone_lines_are_parsed(line: bytes, name: bytes, text: bytes) -> None:
    zone = parse_zone(line)
    assert (zone.name, zone.text) == (name, text)


@pytest.mark.parametrize(
    "line", [b"", b".", b"=127.0.0.2", b"zen.example =", b"zen.example =2", b"z =127.0.0.1/33", b"z =\xff"]
)
def test_an_invalid_zone_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        parse_zone(line)


@given(st.binary(max_size=60))
def test_malformed_input_raises_the_protocol_error_only(line: bytes) -> None:
    try:
        parse_zone(line)
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("line", "addresses", "is_listed"),
    [
        (b"z", ("127.0.0.2",), True),
        (b"z", ("192.0.2.1", "127.9.9.9"), True),
        (b"z", (), False),
        (b"z", ("127.255.255.254",), False),
        (b"z", ("203.0.113.5",), False),
        (b"z =127.0.0.2,127.0.0.4/30", ("127.0.0.7",), True),
        (b"z =127.0.0.2,127.0.0.4/30", ("127.0.0.3",), False),
        (b"z =192.0.2.0/24", ("192.0.2.9",), True),
        (b"z =::1", ("127.0.0.1",), False),
    ],
)
def test_only_matching_answers_count(line: bytes, addresses: tuple[str, ...], is_listed: bool) -> None:
    assert parse_zone(line).lists(addresses) is is_listed


@pytest.mark.parametrize(
    ("ip", "name"),
    [
        (b"192.0.2.99", b"99.2.0.192"),
        (b"::ffff:192.0.2.99", b"99.2.0.192"),
        (b"2001:db8:1:2:3:4:567:89ab", b"b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2"),
        (b"unknown", b""),
        (b"", b""),
        (b"\xff", b""),
    ],
)
def test_addresses_are_reversed(ip: bytes, name: bytes) -> None:
    """The second of these is the example of RFC 5782 section 2.4."""
    assert reversed_address(ip) == name
