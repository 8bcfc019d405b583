"""Rules for TCP connections: their text, their records in rules.cdb, and the lookup keys.

Networks (10.16.0.0/12, 2001:db8::/32) are an extension of eQmail. An IPv4 network becomes the prefixes that C looks up.
An IPv6 network is a record of its own. Another record lists the prefix lengths of all, which bounds the lookups.

Source: smtp-server.md 4.9; tcprules(1), cr.yp.to/ucspi-tcp.
"""

from eqmail_core.text.lines import MAX_DIGITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DENY = b"D\0"
_VERDICTS = ((b"deny", _DENY), (b"allow", b""))
_HIGHEST = 255

LENGTHS = b"/"
"""The key of the record that lists the prefix lengths of the IPv6 networks with rules."""


class BadRule(Exception):
    """A line that is not a valid rule; `line` is its text."""

    def __init__(self, line: bytes) -> None:
        super().__init__(line.decode("latin-1"))
        self.line = line


class Rule:
    """The decision on a client: refused, or served with these variables set."""

    __slots__ = ("denies", "variables")

    def __init__(self, denies: bool, variables: dict[bytes, bytes]) -> None:
        self.denies = denies
        self.variables = variables


def database_records(lines: "Iterable[bytes]") -> "Iterator[tuple[bytes, bytes]]":
    """Generate the database records of the lines of a rules file, in order.

    A range of addresses yields many records.
    Fails: BadRule, when the iteration reaches the line.
    """
    lengths: set[bytes] = set()
    for raw in lines:
        line = raw.rstrip(b" \t\n")
        if not line or raw.startswith(b"#"):
            continue
        address, instructions = _split(line)
        data = _parse_instructions(line, instructions)
        for key in _addresses(line, address):
            yield key, data
            if _is_network(key):
                lengths.add(key.partition(b"/")[2])
    if lengths:
        yield LENGTHS, b"".join([length + b"\0" for length in sorted(lengths, key=int, reverse=True)])


def parse_record(data: bytes) -> Rule:
    """Parse the data of a record."""
    fields = data.split(b"\0")[:-1]
    variables = [field[1:].partition(b"=") for field in fields if field.startswith(b"+")]
    return Rule(b"D" in fields, {name: value for name, _, value in variables})


def keys_for(ip: bytes, host: bytes | None, info: bytes | None, lengths: bytes = b"") -> "Iterator[bytes]":
    """Generate the lookup keys of a client; the first key with a record decides.

    `ip`: the address as text, IPv4 in dotted form even on an IPv6 socket. `host`: its name. `info`: the ident answer.
    Unknown values are None. `lengths`: the record of LENGTHS.
    """
    if info is not None:
        yield info + b"@" + ip
        if host is not None:
            yield info + b"@=" + host
    yield ip
    if host is not None:
        yield b"=" + host
    if lengths and b":" in ip:
        yield from _networks_of(ip, lengths)
    for end in range(len(ip), 0, -1):
        if ip[end - 1] in b".:":
            yield ip[:end]
    if host is not None:
        for start in range(len(host)):
            if host[start : start + 1] == b".":
                yield b"=" + host[start:]
        yield b"="
    yield b""


def _networks_of(ip: bytes, lengths: bytes) -> "Iterator[bytes]":
    """Generate the IPv6 networks that contain an address, the smallest first.

    `lengths`: the prefix lengths, as in the record of LENGTHS.
    """
    from ipaddress import ip_network

    for length in lengths.split(b"\0")[:-1]:
        try:
            yield str(ip_network((ip.partition(b"%")[0].decode("ascii"), int(length)), strict=False)).encode()
        except ValueError:
            return


def _split(line: bytes) -> tuple[bytes, bytes]:
    """Split a line into address and instructions.

    The split is at the first colon before "allow" or "deny", so that an IPv6 address needs no quotes.
    """
    colon = line.find(b":")
    while colon >= 0:
        rest = line[colon + 1 :]
        if any(rest.startswith(word) for word, _ in _VERDICTS):
            return line[:colon], rest
        colon = line.find(b":", colon + 1)
    raise BadRule(line)


def _parse_instructions(line: bytes, text: bytes) -> bytes:
    word, data = next((word, data) for word, data in _VERDICTS if text.startswith(word))
    text = text[len(word) :]
    while text:
        name, equals, rest = text[1:].partition(b"=")
        quote = rest[:1]
        end = rest.find(quote, 1) if quote else -1
        if not text.startswith(b",") or not equals or end < 0:
            raise BadRule(line)
        data += b"+%b=%b\0" % (name, rest[1:end])
        text = rest[end + 1 :]
    return data


def _addresses(line: bytes, address: bytes) -> "Iterator[bytes]":
    """Generate the key of an address, or those of a range (1.2.3.37-53, 10.2-3.) or a network."""
    if _is_network(address):
        yield from _network(line, address)
        return
    low, dash, rest = address.partition(b"-")
    if not dash or b"=" in address or b"@" in address:
        yield address
        return
    start = low.rfind(b".") + 1
    dot = rest.find(b".")
    high, tail = (rest, b"") if dot < 0 else (rest[:dot], rest[dot:])
    bottom, top = _number(line, low[start:]), min(_number(line, high), _HIGHEST)
    for number in range(bottom, top + 1):
        yield b"%b%d%b" % (low[:start], number, tail)


def _is_network(address: bytes) -> bool:
    return b"/" in address and b"=" not in address and b"@" not in address


def _network(line: bytes, address: bytes) -> "Iterator[bytes]":
    """Generate the key of an IPv6 network, or the prefixes of an IPv4 network."""
    from ipaddress import IPv6Network, ip_network

    try:
        network = ip_network(address.decode("ascii"), strict=False)
    except ValueError:
        raise BadRule(line) from None
    if isinstance(network, IPv6Network):
        yield str(network).encode()
        return
    octets = max(1, -(-network.prefixlen // 8))
    for part in network.subnets(new_prefix=8 * octets):
        prefix = b".".join(str(part.network_address).encode().split(b".")[:octets])
        yield prefix if octets == 4 else prefix + b"."


def _number(line: bytes, digits: bytes) -> int:
    if digits.lstrip(b"0123456789"):
        raise BadRule(line)
    return int(digits.lstrip(b"0")[:MAX_DIGITS] or b"0")
