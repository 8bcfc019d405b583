"""The addresses of this host: those of all active interfaces, and the two unspecified ones.

Source: delivery.md 5.6 (loop check); RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.2.
"""

import fcntl
import socket
import struct

_SIOCGIFCONF = 0x8912
_SIOCGIFFLAGS = 0x8913
_IFF_UP = 1
_IFREQ = 40
_MAX_ENTRIES = 1024
_IPV6_TABLE = "/proc/net/if_inet6"

UNSPECIFIED = frozenset(("0.0.0.0", "::"))


def own_addresses() -> frozenset[str]:
    """Every address of this host as canonical text, including 0.0.0.0 and ::.

    Fails: never; addresses that the system does not report are left out.
    """
    return UNSPECIFIED | _ipv4() | _ipv6()


def _ipv4() -> frozenset[str]:
    from array import array

    buffer = array("B", bytes(_IFREQ * _MAX_ENTRIES))
    where, length = buffer.buffer_info()
    found = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock, _SIOCGIFCONF, struct.pack("iL", length, where))
        except OSError:
            return frozenset()
        used = struct.unpack_from("i", answer)[0]
        entries = buffer.tobytes()
        for start in range(0, used, _IFREQ):
            if _is_up(sock, entries[start : start + 16]):
                found.add(socket.inet_ntoa(entries[start + 20 : start + 24]))
    return frozenset(found)


def _is_up(sock: socket.socket, name: bytes) -> bool:
    try:
        answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, name + bytes(_IFREQ - len(name)))
    except OSError:
        return False
    return bool(struct.unpack_from("h", answer, 16)[0] & _IFF_UP)


def _ipv6() -> frozenset[str]:
    try:
        with open(_IPV6_TABLE) as table:
            packed = [bytes.fromhex(line.split(" ", 1)[0]) for line in table]
    except (OSError, ValueError):
        return frozenset()
    return frozenset(socket.inet_ntop(socket.AF_INET6, address) for address in packed if len(address) == 16)
