"""Filters that select messages of a queue: `domain=example.org age>1h channel=remote`.

Terms are separated by blanks, and all must hold; a value with blanks is quoted. Terms about recipients (domain,
recipient, channel) must hold for one and the same unfinished recipient. Words are compared without regard to case, with
* for anything; ages take s, m, h, d, w, sizes K, M, G.

Fails: BadFilter, a sentence that names the error and the correct form.
"""

from collections.abc import Callable
from fnmatch import fnmatchcase
from shlex import split
from typing import NamedTuple, Protocol

from eqmail_core.dsn.parameters import ADDRESS, LOGIN, UID
from eqmail_core.text.lines import MAX_DIGITS, period

STATES = ("waiting", "held", "running", "memory", "finished", "new")
"""States of a message: it waits for its next attempt; it is held; deliveries run; it is only in memory; all its
recipients are done, and perhaps its bounce is due; it is not preprocessed yet."""

SHARED = b"shared"
"""The stamp of every message of a queue that nodes share: its number never comes back."""

_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_OPERATORS = ("!=", ">=", "<=", "=", ">", "<")


class BadFilter(ValueError):
    """A filter that cannot be parsed."""


class Matched(Protocol):
    """The properties of a message that a filter tests."""

    node: str
    number: int
    birth: float
    size: int
    facts: dict[bytes, bytes]
    sender: bytes
    state: str
    recipients: list[tuple[str, bool, bytes]]


Holds = Callable[[Matched, str, bytes, float], bool]


class Term(NamedTuple):
    """One condition; `about_recipients`: it tests one recipient, else the message."""

    about_recipients: bool
    holds: Holds


class MessageFilter:
    """A condition on messages; without terms every message matches."""

    def __init__(self, config: list[Term]) -> None:
        self._of_message = [term.holds for term in config if not term.about_recipients]
        self._of_recipient = [term.holds for term in config if term.about_recipients]

    def matches(self, message: Matched, now: float) -> bool:
        """Return whether the message matches."""
        for holds in self._of_message:
            if not holds(message, "", b"", now):
                return False
        if not self._of_recipient:
            return True
        return any(
            not done and all(holds(message, channel, address, now) for holds in self._of_recipient)
            for channel, done, address in message.recipients
        )


def parse_filter(text: str) -> MessageFilter:
    """Parse a filter.  Fails: BadFilter."""
    try:
        words = split(text)
    except ValueError as error:
        raise BadFilter(f"{text!r}: {error}") from error
    return MessageFilter([_term(word) for word in words])


def _term(word: str) -> Term:
    at = min((position for position, character in enumerate(word) if character in "=<>!"), default=-1)
    operator = next((operator for operator in _OPERATORS if at > 0 and word.startswith(operator, at)), "")
    if not operator:
        raise BadFilter(f"{word!r} is no condition; write FIELD=VALUE, such as domain=example.org, or FIELD>VALUE")
    name, value = word[:at].lower(), word[at + len(operator) :]
    if name not in _FIELDS:
        raise BadFilter(f"{word!r}: there is no field {name!r}; the fields are {', '.join(_FIELDS)}")
    if not value and operator != "=" and operator != "!=":
        raise BadFilter(f"{word!r}: a value is missing")
    about_recipients, make = _FIELDS[name]
    return Term(about_recipients, make(word, operator, value))


def _words(get: Callable[[Matched, str, bytes], str]) -> Callable[[str, str, str], Holds]:
    def make(word: str, operator: str, value: str) -> Holds:
        if operator not in ("=", "!="):
            raise BadFilter(f"{word!r}: only = and != make sense here")
        pattern, wanted = value.lower().replace("[", "[[]").replace("?", "[?]"), operator == "="
        return lambda item, channel, address, now: fnmatchcase(get(item, channel, address).lower(), pattern) is wanted

    return make


def _choices(get: Callable[[Matched, str, bytes], str], known: tuple[str, ...]) -> Callable[[str, str, str], Holds]:
    def make(word: str, operator: str, value: str) -> Holds:
        if value not in known:
            raise BadFilter(f"{word!r}: {value!r} is none of {', '.join(known)}")
        return _words(get)(word, operator, value)

    return make


def _amounts(
    get: Callable[[Matched, float], float], read: Callable[[str], int | None], example: str
) -> Callable[[str, str, str], Holds]:
    def make(word: str, operator: str, value: str) -> Holds:
        amount = read(value)
        if amount is None:
            raise BadFilter(f"{word!r}: {value!r} is none of the form {example}")
        compare = _COMPARE[operator]
        return lambda item, channel, address, now: compare(get(item, now), amount)

    return make


_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
}


def _size(text: str) -> int | None:
    digits = text.lower().rstrip("kmg")
    unit = text.lower()[len(digits) :]
    number = _number(digits)
    return number * _SIZES[unit] if number is not None and unit in _SIZES else None


def _number(text: str) -> int | None:
    """Parse decimal digits, up to the length that Python accepts for an integer."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None


def _host(address: bytes) -> str:
    return address.rpartition(b"@")[2].decode("latin-1")


def _fact(item: Matched, letter: bytes) -> str:
    return item.facts.get(letter, b"").decode("latin-1")


_FIELDS: dict[str, tuple[bool, Callable[[str, str, str], Holds]]] = {
    "domain": (True, _words(lambda item, channel, address: _host(address))),
    "recipient": (True, _words(lambda item, channel, address: address.decode("latin-1"))),
    "channel": (True, _choices(lambda item, channel, address: channel, ("local", "remote"))),
    "sender": (False, _words(lambda item, channel, address: item.sender.decode("latin-1"))),
    "senderdomain": (False, _words(lambda item, channel, address: _host(item.sender))),
    "login": (False, _words(lambda item, channel, address: _fact(item, LOGIN))),
    "node": (False, _words(lambda item, channel, address: item.node)),
    "uid": (False, _words(lambda item, channel, address: _fact(item, UID))),
    "client": (False, _words(lambda item, channel, address: _fact(item, ADDRESS))),
    "state": (False, _choices(lambda item, channel, address: item.state, STATES)),
    "age": (
        False,
        _amounts(lambda item, now: now - item.birth, lambda text: period(text.encode()), "30s, 10m, 4h, 1d"),
    ),
    "size": (False, _amounts(lambda item, now: item.size, _size, "1000, 20K, 5M")),
    "number": (False, _amounts(lambda item, now: item.number, _number, "12345")),
}
