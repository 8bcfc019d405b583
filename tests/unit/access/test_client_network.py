"""Under which name limits count a client."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.access.client_network import client_network


@pytest.mark.parametrize(
    ("ip", "name"),
    [
        (b"192.0.2.7", b"192.0.2.7"),
        (b"2001:db8:1:2:3:4:5:6", b"2001:0db8:0001:0002::/64"),
        (b"2001:db8:1:2:ffff::", b"2001:0db8:0001:0002::/64"),
        (b"2001:db8:1:3::1", b"2001:0db8:0001:0003::/64"),
        (b"::ffff:192.0.2.7", b"192.0.2.7"),
        (b"unknown", b"unknown"),
        (b"no:address", b"no:address"),
    ],
)
def test_an_ipv6_client_counts_as_its_network(ip: bytes, name: bytes) -> None:
    assert client_network(ip) == name


@given(st.binary())
def test_any_address_text_has_a_key(ip: bytes) -> None:
    assert isinstance(client_network(ip), bytes)
