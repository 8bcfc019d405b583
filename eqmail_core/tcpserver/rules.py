"""Rules for TCP connections: their text, their records in rules.cdb, and where a client's rule is looked up.

Networks (10.16.0.0/12, 2001:db8::/32) are ours: those of IPv4 become the prefixes that C looks up too; one of IPv6 is a
record of its own, and another record tells the lengths of them all, so that nobody looks for others.

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
"""The key whose record tells the lengths of the IPv6 networks that have rules."""


class BadRule(Exception):
    """A line that is no rule; `line` is its text."""

    def __init__(self, line: bytes) -> None:
        super().__init__(line.decode("latin-1"))
        self.line = line


class Rule:
    """What is to become of a client: refused, or served with these variables set."""

    __slots__ = ("denies", "variables")

    def __init__(self, denies: bool, variables: dict[bytes, bytes]) -> None:
        self.denies = denies
        self.variables = variables


def database_records(lines: "Iterable[bytes]") -> "Iterator[tuple[bytes, bytes]]":
    """The database records of the lines of a rules file, in order; a range of addresses makes many.

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
    """The rule in the data of a record."""
    fields = data.split(b"\0")[:-1]
    variables = [field[1:].partition(b"=") for field in fields if field.startswith(b"+")]
    return Rule(b"D" in fields, {name: value for name, _, value in variables})


def keys_for(ip: bytes, host: bytes | None, info: bytes | None, lengths: bytes = b"") -> "Iterator[bytes]":
    """The keys under which a client's rule may stand, the first hit decides.

    `ip` is the textual address (IPv4 in dotted form, also where the socket was IPv6), `host` its name, `info` what
    the client's ident server says; None where unknown.  `lengths` is the record of LENGTHS.
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
    """The IPv6 networks of these lengths that an address is in, the smallest first."""
    from ipaddress import ip_network

    for length in lengths.split(b"\0")[:-1]:
        try:
            yield str(ip_network((ip.partition(b"%")[0].decode("ascii"), int(length)), strict=False)).encode()
        except ValueError:
            return


def _split(line: bytes) -> tuple[bytes, bytes]:
    """Address and instructions: the first colon counts behind which a verdict begins, so that IPv6 needs no quotes."""
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
    """One key, or one for each number of a range such as 1.2.3.37-53 or 10.2-3. , or those of a network."""
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
    """The key of an IPv6 network, or the prefixes of an IPv4 one."""
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
