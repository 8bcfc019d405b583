"""Under which name limits count a client: its IPv4 address, or its IPv6 network, all of which one customer has."""

from ipaddress import IPv6Address

_PREFIX_BYTES = 8


def client_network(ip: bytes) -> bytes:
    """The address, or of an IPv6 address its /64; an IPv4 address in an IPv6 one is that; other text stays."""
    if b":" not in ip:
        return ip
    try:
        address = IPv6Address(ip.decode("ascii"))
    except ValueError:
        return ip
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped).encode()
    return address.packed[:_PREFIX_BYTES].hex(":", 2).encode() + b"::/64"
