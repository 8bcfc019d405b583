"""The client networks that may relay.

Source: smtp-server.md 4.2 (RELAYCLIENT); control file relayclients.
"""

from ipaddress import ip_address, ip_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Network, IPv6Network


class NetworkSet:
    """Addresses and networks (CIDR) whose clients may relay.

    `ignored`: the invalid entries.
    """

    __slots__ = ("_addresses", "_networks", "ignored")

    def __init__(self, entries: "Iterable[bytes] | None") -> None:
        self._addresses: set[bytes] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        self.ignored: list[bytes] = []
        for entry in entries or ():
            try:
                network = ip_network(entry.decode("ascii"), strict=False)
            except ValueError:
                self.ignored.append(entry)
                continue
            if network.num_addresses == 1:
                self._addresses.add(str(network.network_address).encode())
            else:
                self._networks.append(network)

    def includes(self, address: bytes) -> bool:
        """Return whether the client at `address` may relay."""
        if address in self._addresses:
            return True
        if not self._networks:
            return False
        try:
            known = ip_address(address.decode("ascii"))
        except ValueError:
            return False
        return any(known.version == network.version and known in network for network in self._networks)
