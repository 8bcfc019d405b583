"""The notation of filters: a line names one, how long it may take, and what holds when it cannot be asked.

    WHAT [timeout=SECONDS] [default=tempfail|accept|reject]

WHAT is the address of a milter, or the name of a check.  An address is unix:/PATH (or local:/PATH, or /PATH alone),
inet:HOST:PORT, inet6:[HOST]:PORT, or with PORT@HOST behind the colon as Sendmail writes it.

Source: Postfix's MILTER_README, Sendmail's INPUT_MAIL_FILTER.
"""

from eqmail_core.control.setting import Control
from eqmail_core.text.lines import non_empty_lines

TEMPFAIL, ACCEPT, REJECT = b"tempfail", b"accept", b"reject"
DEFAULTS = (TEMPFAIL, ACCEPT, REJECT)

MAX_SECONDS = 3600
"""No filter may take longer for one answer."""

_UNIX = (b"unix", b"local")
_INTERNET = (b"inet", b"inet6")


class FilterEntry:
    """A filter: `name` as it was written, seconds for an answer, and one of DEFAULTS."""

    __slots__ = ("default", "name", "timeout_s")

    def __init__(self, name: bytes, timeout_s: int, default: bytes = TEMPFAIL) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self.default = default

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FilterEntry) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[bytes, int, bytes]:
        return self.name, self.timeout_s, self.default


def parse_filter(line: bytes, timeout_s: int) -> tuple[FilterEntry, list[bytes]]:
    """The filter of a line that is not empty, and its invalid words, which are ignored."""
    name, *words = line.split()
    entry = FilterEntry(name, timeout_s)
    wrong = []
    for word in words:
        key, _, value = word.lower().partition(b"=")
        if key == b"timeout" and value.isdigit() and len(value) < 5 and 0 < int(value) <= MAX_SECONDS:
            entry.timeout_s = int(value)
        elif key == b"default" and value in DEFAULTS:
            entry.default = value
        else:
            wrong.append(word)
    return entry, wrong


def milter_address(text: bytes) -> tuple[str, int] | None:
    """Path and 0, or host and port; None for what is no address."""
    kind, colon, rest = text.partition(b":")
    if text.startswith(b"/"):
        kind, colon, rest = _UNIX[0], b":", text
    try:
        where = rest.decode("ascii")
    except UnicodeDecodeError:
        return None
    if not colon or "\0" in where:
        return None
    if kind in _UNIX:
        return (where, 0) if where.startswith("/") else None
    if kind not in _INTERNET:
        return None
    port, at, host = where.partition("@")
    if not at:
        host, _, port = where.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_port = port.isdigit() and len(port) < 6 and 0 < int(port) < 65536
    return (host, int(port)) if host and is_port else None


MILTER_TIMEOUT_S = 30
CHECK_TIMEOUT_S = 10


class FilterList(Control["list[FilterEntry] | None"]):
    """Lines WHAT [timeout=SECONDS] [default=tempfail|accept|reject], in the order in which they are asked."""

    kind = "list of filters"
    timeout_s = CHECK_TIMEOUT_S

    def parse(self, text: bytes) -> "tuple[list[FilterEntry] | None, list[str]]":
        """List the filters; remark on invalid words, which are ignored."""
        entries, remarks = [], []
        for line in non_empty_lines(text):
            if not line.strip():
                continue
            entry, wrong = parse_filter(line, self.timeout_s)
            entries.append(entry)
            remarks += [f"{_shown(word)} is no timeout=SECONDS, default=tempfail, accept or reject" for word in wrong]
            remarks += self.objections(entry)
        return entries or None, remarks

    def objections(self, entry: FilterEntry) -> list[str]:
        """What is wrong with the name of a filter."""
        return []


class Milters(FilterList):
    """Filters named by their addresses."""

    kind = "list of milters"
    timeout_s = MILTER_TIMEOUT_S

    def objections(self, entry: FilterEntry) -> list[str]:
        """Remark on an invalid address; such a filter cannot be asked, and `default` applies."""
        if milter_address(entry.name) is not None:
            return []
        return [f"{_shown(entry.name)} is not an address such as unix:/run/milter.sock or inet:127.0.0.1:11332"]


def _shown(word: bytes) -> str:
    return repr(word.decode("latin-1"))
