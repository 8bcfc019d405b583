"""Parse the header of the PROXY protocol, versions 1 and 2: the client behind a proxy.

Source: proxy-protocol.txt 2.1, 2.2 (haproxy.org).
"""

from ipaddress import ip_address

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
MAX_LINE = 107
"""Maximum length of a version 1 line in bytes, with its line end."""

_FIXED = 16
_LOCAL, _PROXY = 0x20, 0x21
# Family and protocol byte of version 2, and the address length in bytes.
_ADDRESS_BYTES = {0x11: 4, 0x21: 16}
_FAMILIES = {b"TCP4": 4, b"TCP6": 6}


class BadProxyHeader(Exception):
    """The input is not a PROXY header."""


class ProxyEndpoints:
    """Both ends of a connection as the proxy reported them: canonical addresses, and ports."""

    __slots__ = ("local", "remote")

    def __init__(self, remote: tuple[str, int], local: tuple[str, int]) -> None:
        self.remote = remote
        self.local = local


def parse_proxy_header(data: bytes) -> tuple[ProxyEndpoints | None, int]:
    """Parse the header to its endpoints and its length; the length is 0 while bytes are missing.

    The endpoints are None for a connection of the proxy itself.
    Fails: BadProxyHeader.
    """
    if data[: len(SIGNATURE)] == SIGNATURE[: len(data)]:
        return _binary(data)
    if data[:6] != b"PROXY "[: len(data)]:
        raise BadProxyHeader
    end = data.find(b"\r\n", 0, MAX_LINE)
    if end < 0:
        if len(data) >= MAX_LINE:
            raise BadProxyHeader
        return None, 0
    return _text(data[:end].split(b" ")), end + 2


def _text(words: list[bytes]) -> ProxyEndpoints | None:
    if words[1:2] == [b"UNKNOWN"]:
        return None
    if len(words) != 6 or words[1] not in _FAMILIES:
        raise BadProxyHeader
    version = _FAMILIES[words[1]]
    return ProxyEndpoints(
        (_address(words[2], version), _port(words[4])), (_address(words[3], version), _port(words[5]))
    )


def _binary(data: bytes) -> tuple[ProxyEndpoints | None, int]:
    if len(data) < _FIXED:
        return None, 0
    command, family = data[12], data[13]
    length = int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY):
        raise BadProxyHeader
    if len(data) < _FIXED + length:
        return None, 0
    size = _ADDRESS_BYTES.get(family)
    if command == _LOCAL or size is None:
        return None, _FIXED + length
    if length < 2 * size + 4:
        raise BadProxyHeader
    block = data[_FIXED : _FIXED + length]
    remote, local, ports = block[:size], block[size : 2 * size], block[2 * size :]
    return (
        ProxyEndpoints(
            (str(ip_address(remote)), int.from_bytes(ports[:2], "big")),
            (str(ip_address(local)), int.from_bytes(ports[2:4], "big")),
        ),
        _FIXED + length,
    )


def _address(word: bytes, version: int) -> str:
    try:
        address = ip_address(word.decode("ascii"))
    except ValueError as error:
        raise BadProxyHeader from error
    if address.version != version:
        raise BadProxyHeader
    return str(address)


def _port(word: bytes) -> int:
    if not word.isdigit() or len(word) > 5 or int(word) > 65535:
        raise BadProxyHeader
    return int(word)
