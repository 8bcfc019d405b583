"""The kind of the control file with limits for destinations of remote mail."""

from eqmail_core.control.setting import Control
from eqmail_core.mail.domain_name import table_key
from eqmail_core.text.lines import non_empty_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


DEFAULT_KEY = b"*"

_UNITS_S = {b"s": 1, b"m": 60, b"h": 3600, b"": 1}


class Limit:
    """Bounds of one destination: deliveries at a time, messages per connection, seconds between deliveries; 0: none."""

    __slots__ = ("concurrency", "messages", "spacing_s")

    def __init__(self, concurrency: int = 0, messages: int = 0, spacing_s: float = 0.0) -> None:
        self.concurrency = concurrency
        self.messages = messages
        self.spacing_s = spacing_s


UNLIMITED = Limit()


def parse_limit(text: bytes) -> tuple[Limit, list[bytes]]:
    """Read what stands behind the colon; the second value lists the invalid words."""
    limit = Limit()
    wrong = []
    for word in text.split():
        name, _, value = word.partition(b"=")
        number, slash, unit = value.partition(b"/")
        count = int(number) if number.isdigit() and len(number) < 10 else 0
        if count and name == b"rate" and unit in _UNITS_S:
            limit.spacing_s = _UNITS_S[unit] / count
        elif count and name == b"concurrency" and not slash:
            limit.concurrency = count
        elif count and name == b"messages" and not slash:
            limit.messages = count
        else:
            wrong.append(word)
    return limit, wrong


def parse_limits(lines: "Iterable[bytes]") -> tuple[dict[bytes, Limit], list[bytes]]:
    """Read lines DOMAIN:WORDS, domains without regard to case; the second value lists the invalid lines."""
    limits = {}
    wrong = []
    for line in lines:
        domain, colon, words = line.partition(b":")
        limit, unknown = parse_limit(words)
        if not colon or unknown:
            wrong.append(line)
        if colon:
            limits[table_key(domain)] = limit
    return limits, wrong


def limit_of(limits: "Mapping[bytes, Limit] | None", domain: bytes) -> Limit:
    """What a domain, in lower case, is bound to: its own line or that of `*`."""
    return (
        (limits.get(domain if domain.isascii() else table_key(domain)) or limits.get(DEFAULT_KEY) or UNLIMITED)
        if limits
        else UNLIMITED
    )


class RemoteLimits(Control["dict[bytes, Limit] | None"]):
    """Lines DOMAIN:WORDS with the limits of a destination; None where the file is absent."""

    kind = "map of limits"

    def parse(self, text: bytes) -> "tuple[dict[bytes, Limit] | None, list[str]]":
        """Map the lines; remark on those with invalid words, which are ignored."""
        limits, wrong = parse_limits(non_empty_lines(text))
        remarks = [f"{line.decode('latin-1')!r} is not DOMAIN:concurrency=N messages=N rate=N/s" for line in wrong]
        return limits, remarks
