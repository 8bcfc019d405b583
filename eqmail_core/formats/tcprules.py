"""Rules for TCP connections: their text, their records in rules.cdb, and where a client's rule is looked up.

Source: smtp-server.md 4.9; tcprules(1), cr.yp.to/ucspi-tcp.
"""

from eqmail_core.formats.lines import MOST_DIGITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DENY = b"D\0"
_VERDICTS = ((b"deny", _DENY), (b"allow", b""))
_HIGHEST = 255


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
    for raw in lines:
        line = raw.rstrip(b" \t\n")
        if not line or raw.startswith(b"#"):
            continue
        address, instructions = _split(line)
        data = _parse_instructions(line, instructions)
        for key in _addresses(line, address):
            yield key, data


def parse_record(data: bytes) -> Rule:
    """The rule in the data of a record."""
    fields = data.split(b"\0")[:-1]
    variables = [field[1:].partition(b"=") for field in fields if field.startswith(b"+")]
    return Rule(b"D" in fields, {name: value for name, _, value in variables})


def keys_for(ip: bytes, host: bytes | None, info: bytes | None) -> "Iterator[bytes]":
    """The keys under which a client's rule may stand, the first hit decides.

    `ip` is the textual address (IPv4 in dotted form, also where the socket was IPv6), `host` its name, `info` what
    the client's ident server says; None where unknown.
    """
    if info is not None:
        yield info + b"@" + ip
        if host is not None:
            yield info + b"@=" + host
    yield ip
    if host is not None:
        yield b"=" + host
    for end in range(len(ip), 0, -1):
        if ip[end - 1] in b".:":
            yield ip[:end]
    if host is not None:
        for start in range(len(host)):
            if host[start : start + 1] == b".":
                yield b"=" + host[start:]
        yield b"="
    yield b""


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
    """One key, or one for each number of a range such as 1.2.3.37-53 or 10.2-3. ."""
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


def _number(line: bytes, digits: bytes) -> int:
    if digits.lstrip(b"0123456789"):
        raise BadRule(line)
    return int(digits.lstrip(b"0")[:MOST_DIGITS] or b"0")
