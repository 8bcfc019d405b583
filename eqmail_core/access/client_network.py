"""The key by which limits count a client: its IPv4 address or its IPv6 network.

One customer usually has a whole IPv6 /64.
"""

from ipaddress import IPv6Address

_PREFIX_BYTES = 8


def client_network(ip: bytes) -> bytes:
    """Return an IPv4 address, or the /64 network of an IPv6 address.

    An IPv4-mapped address becomes its IPv4 address; any other text is returned unchanged.
    """
    if b":" not in ip:
        return ip
    try:
        address = IPv6Address(ip.decode("ascii"))
    except ValueError:
        return ip
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped).encode()
    return address.packed[:_PREFIX_BYTES].hex(":", 2).encode() + b"::/64"
