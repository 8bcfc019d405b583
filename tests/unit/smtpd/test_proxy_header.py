"""The PROXY protocol, both versions."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.smtpd.protocol.proxy_header import MAX_LINE, SIGNATURE, BadProxyHeader, parse_proxy_header

V4 = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\n"
V6 = b"PROXY TCP6 2001:DB8::7 2001:db8::1 1 65535\r\n"


def binary(command: int, family: int, block: bytes) -> bytes:
    return SIGNATURE + bytes((command, family)) + len(block).to_bytes(2, "big") + block


B4 = binary(0x21, 0x11, socket.inet_aton("192.0.2.7") + socket.inet_aton("198.51.100.1") + b"\xdc\x04\x00\x19")
B6 = binary(0x21, 0x21, socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + b"\x00\x01\xff\xff" + b"\x04\x00\x01x")


@pytest.mark.parametrize(
    ("header", "remote", "local"),
    [
        (V4, ("192.0.2.7", 56324), ("198.51.100.1", 25)),
        (V6, ("2001:db8::7", 1), ("2001:db8::1", 65535)),
        (B4, ("192.0.2.7", 56324), ("198.51.100.1", 25)),
        (B6, ("2001:db8::7", 1), ("2001:db8::7", 65535)),
    ],
)
def test_both_addresses_are_parsed_and_the_rest_is_left_unread(
    header: bytes, remote: tuple[str, int], local: tuple[str, int]
) -> None:
    ends, length = parse_proxy_header(header + b"EHLO x\r\n")
    assert ends is not None
    assert (ends.remote, ends.local, length) == (remote, local, len(header))
    for cut in range(1, len(header)):
        assert parse_proxy_header(header[:cut]) == (None, 0)


@pytest.mark.parametrize(
    "header",
    [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff::1 x y z\r\n", binary(0x20, 0, b""), binary(0x21, 0x31, b"x" * 216)],
)
def test_the_local_command_of_a_proxy_is_accepted(header: bytes) -> None:
    assert parse_proxy_header(header) == (None, len(header))


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO x\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
        b"PROXY TCP4 2001:db8::7 198.51.100.1 1 25\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n",
        b"PROXY UDP4 192.0.2.7 198.51.100.1 1 25\r\n",
        b"PROXY " + b"x" * MAX_LINE,
        binary(0x11, 0x11, b"x" * 12),
        binary(0x21, 0x11, b"x" * 11),
    ],
)
def test_anything_else_is_bad(header: bytes) -> None:
    with pytest.raises(BadProxyHeader):
        parse_proxy_header(header)


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(lambda rest: b"PROXY " + rest + b"\r\n"),
                 st.binary(max_size=40).map(lambda rest: SIGNATURE + rest)))  # fmt: skip
def test_any_bytes_raise_the_protocol_error_only(data: bytes) -> None:
    try:
        _, length = parse_proxy_header(data)
    except BadProxyHeader:
        return
    assert 0 <= length <= len(data)
