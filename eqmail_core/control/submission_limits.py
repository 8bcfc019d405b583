"""The kind of the control file with limits for submitters: logins, local users, addresses of clients that may relay.

A limit is a bucket: `messages=20+100/h` allows 20 messages at once and 100 more in each hour, spread evenly, so at most
120 in the first hour. `messages=100/h` is short for `messages=100+100/h`.
"""

from eqmail_core.control.setting import Control
from eqmail_core.text.lines import non_empty_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LOGIN, UID, ADDRESS = b"login", b"uid", b"address"
KINDS = (LOGIN, UID, ADDRESS)

MESSAGES, RECIPIENTS = b"messages", b"recipients"

ALL = b"*"
"""The name of a line for all submitters of its kind that have none of their own."""

_UNITS_S = {b"m": 60, b"h": 3600, b"d": 86400}
_MAX_DIGITS = 9
_WANTED = "is not KIND NAME messages=N/h recipients=N/d; KIND is login, uid or address, NAME * for all"


class Bucket:
    """One limit: `burst` at once, and `count` in `period_s`.

    `of`: MESSAGES or RECIPIENTS; `text`: the word of the setting.
    """

    __slots__ = ("burst", "count", "of", "period_s", "text")

    def __init__(self, of: bytes, burst: int, count: int, period_s: int, text: bytes) -> None:
        self.of = of
        self.burst = burst
        self.count = count
        self.period_s = period_s
        self.text = text


class Limits:
    """The limits of a submitter; `refuses`: what is over them is refused, not held."""

    __slots__ = ("buckets", "refuses")

    def __init__(self, buckets: "tuple[Bucket, ...]" = (), refuses: bool = False) -> None:
        self.buckets = buckets
        self.refuses = refuses


UNLIMITED = Limits()


class LimitTable:
    """Limits by kind and name; names of logins in lower case, of addresses as text of a network."""

    __slots__ = ("_exact", "_networks")

    def __init__(self) -> None:
        self._exact: dict[tuple[bytes, bytes], Limits] = {}
        # By length of the address and of the prefix: networks as numbers, the longest prefixes first.
        self._networks: dict[tuple[int, int], dict[int, Limits]] = {}

    def __bool__(self) -> bool:
        return bool(self._exact or self._networks)

    def add(self, kind: bytes, name: bytes, limits: Limits) -> bool:
        """Add a line; False: its name cannot be an address or a network."""
        if kind != ADDRESS or name == ALL:
            self._exact[kind, name.lower()] = limits
            return True
        # Imported here: programs that run once per message read settings too.
        from ipaddress import ip_network

        try:
            network = ip_network(name.decode("ascii"), strict=False)
        except ValueError:
            return False
        bits, prefix = network.max_prefixlen, network.prefixlen
        found = self._networks.setdefault((bits, prefix), {})
        found[int(network.network_address) >> (bits - prefix)] = limits
        self._networks = dict(sorted(self._networks.items(), reverse=True))
        return True

    def resolve_users(self, uid_of: "Callable[[bytes], int | None]") -> list[bytes]:
        """Replace names of local users by their uids; return the names that are unknown."""
        unknown = []
        for kind, name in [key for key in self._exact if key[0] == UID and key[1] != ALL and not key[1].isdigit()]:
            uid = uid_of(name)
            limits = self._exact.pop((kind, name))
            if uid is None:
                unknown.append(name)
            else:
                self._exact.setdefault((UID, b"%d" % uid), limits)
        return unknown

    def limits_of(self, kind: bytes, name: bytes) -> Limits:
        """Return what a submitter is bound to: its own line, or that for all of its kind."""
        found = self._exact.get((kind, name.lower()))
        if found is None and kind == ADDRESS and self._networks:
            found = self._of_network(name)
        return found or self._exact.get((kind, ALL), UNLIMITED)

    def _of_network(self, name: bytes) -> Limits | None:
        from ipaddress import ip_address

        try:
            address = ip_address(name.partition(b"/")[0].decode("ascii"))
        except ValueError:
            return None
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        number, bits = int(address), address.max_prefixlen
        for (length, prefix), networks in self._networks.items():
            if length == bits:
                found = networks.get(number >> (bits - prefix))
                if found is not None:
                    return found
        return None


def parse_bucket(word: bytes) -> Bucket | None:
    """Read `messages=N/h`, `recipients=BURST+N/d` and the like; None for anything else."""
    of, _, value = word.partition(b"=")
    amount, slash, unit = value.partition(b"/")
    burst, plus, count = amount.rpartition(b"+")
    numbers = (burst if plus else count, count)
    if of not in (MESSAGES, RECIPIENTS) or not slash or unit not in _UNITS_S:
        return None
    if not all(number.isdigit() and len(number) <= _MAX_DIGITS and int(number) > 0 for number in numbers):
        return None
    return Bucket(of, int(numbers[0]), int(numbers[1]), _UNITS_S[unit], word)


def parse_submission_limits(lines: "Iterable[bytes]") -> tuple[LimitTable, list[tuple[bytes, str]]]:
    """Read lines KIND NAME WORDS; the second value lists the invalid lines, which are passed over, and why."""
    table = LimitTable()
    wrong = []
    for line in lines:
        parts = line.split()
        kind, name, words = b"".join(parts[:1]), b"".join(parts[1:2]), parts[2:]
        buckets = tuple(bucket for bucket in map(parse_bucket, words) if bucket is not None)
        others = [word for word in words if parse_bucket(word) is None]
        is_valid = kind in KINDS and bool(words) and others in ([], [b"hold"], [b"refuse"], [b"none"])
        if not is_valid or bool(buckets) == (others == [b"none"]):
            wrong.append((line, _WANTED))
        elif not table.add(kind, name, Limits(buckets, others == [b"refuse"])):
            wrong.append((line, "names no address and no network such as 192.0.2.0/24"))
    return table, wrong


class SubmissionLimits(Control["LimitTable | None"]):
    """Lines KIND NAME WORDS with the limits of submitters; None where the file is absent."""

    kind = "list of limits"

    def parse(self, text: bytes) -> "tuple[LimitTable | None, list[str]]":
        """Read the lines; remark on invalid ones, which are passed over."""
        table, wrong = parse_submission_limits(non_empty_lines(text))
        return table, [f"the line {line.decode('latin-1')!r} {what}" for line, what in wrong]
