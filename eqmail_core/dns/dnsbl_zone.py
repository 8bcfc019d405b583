"""A line of control file dnsbl or dnswl: a DNS zone that lists addresses of hosts.

    ZONE [=ADDRESS[,ADDRESS]...] [text]

ADDRESS may be a network; only answers in these count. The text is the reply to the client, with %i for its address.

Source: RFC 5782.
"""

from ipaddress import ip_address, ip_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

# The answers of lists (RFC 5782 section 2.1).  Any other answer comes from the new owner of an abandoned list domain.
_LISTED = ip_network("127.0.0.0/8")
# The answers of lists to resolvers that they do not serve.
_PROBLEM = ip_network("127.255.255.0/24")


class DnsblZone:
    """One list: its domain, the answers that count, and the reply text.

    `networks` None: all answers that lists give.
    """

    __slots__ = ("name", "networks", "text")

    def __init__(self, name: bytes, networks: "list[IPv4Network | IPv6Network] | None", text: bytes) -> None:
        self.name = name
        self.networks = networks
        self.text = text

    def lists(self, addresses: tuple[str, ...]) -> bool:
        """Return whether the answer `addresses` mean that the host is listed."""
        answers = [ip_address(address) for address in addresses]
        if self.networks is None:
            return any(answer in _LISTED and answer not in _PROBLEM for answer in answers)
        return any(answer in network for answer in answers for network in self.networks)


def parse_zone(line: bytes) -> DnsblZone:
    """Parse a line.

    Fails: ValueError for a line without a zone, or with answers that are not addresses.
    """
    name, _, rest = line.strip().partition(b" ")
    networks = None
    rest = rest.strip()
    if rest.startswith(b"="):
        answers, _, rest = rest[1:].partition(b" ")
        networks = [ip_network(answer.decode("ascii")) for answer in answers.split(b",")]
    if not name.strip(b".") or b"=" in name or len(name) > 200:
        raise ValueError("no zone")
    return DnsblZone(name.strip(b".").lower(), networks, rest.strip())


def reversed_address(ip: bytes) -> bytes:
    """Return an address in DNS order: octets or nibbles from the last to the first.

    Returns b"" for an invalid address.
    """
    try:
        address = ip_address(ip.decode("ascii"))
    except ValueError:
        return b""
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa").encode()
