"""SPF records: the whole record is read before any of it is used, and one error spoils all of it.

Source: RFC 7208 sections 4.6.1, 5 to 7 and 12.
"""

import re
from ipaddress import IPv4Network, IPv6Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_RECORD = 4096
"""Longest record that is read, in bytes."""

_TERM = re.compile(rb"([+?~-]?)(all|include|a|mx|ptr|ip4|ip6|exists)(?=[:/]|$)(.*)", re.I | re.S)
_MODIFIER = re.compile(rb"([A-Za-z][A-Za-z0-9._-]*)=(.*)", re.S)
_EXPAND = rb"%\{[slodiphcrtv][0-9]*r?[.\-+,/_=]*\}|%%|%_|%-"
_MACRO_STRING = re.compile(rb"(?:[\x21-\x24\x26-\x7e]|" + _EXPAND + rb")*", re.I)
_MACRO_END = re.compile(rb"(?:" + _EXPAND + rb")\Z", re.I)
_TOP_LABEL = re.compile(rb"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_ZERO = re.compile(rb"%\{[a-z]0+(?![0-9])", re.I)
_ONLY_EXPLANATIONS = re.compile(rb"%\{[crt]", re.I)
_PREFIX = re.compile(rb"(.*?)(?:/(0|[1-9][0-9]{0,2}))?(?://(0|[1-9][0-9]{0,2}))?", re.S)

RESULTS = {b"": b"pass", b"+": b"pass", b"-": b"fail", b"~": b"softfail", b"?": b"neutral"}


class InvalidSpfRecord(ValueError):
    """A record with a syntax error; the text says where."""


class SpfTerm:
    """One mechanism: its name, the result where it matches, and what it looks at.

    `domain`: a macro string, b"" for the domain itself. `prefix4`, `prefix6`: lengths. `network`: for ip4 and ip6.
    """

    __slots__ = ("domain", "name", "network", "prefix4", "prefix6", "result", "text")

    def __init__(self, name: bytes, result: bytes, text: bytes) -> None:
        self.name = name
        self.result = result
        self.text = text
        self.domain = b""
        self.prefix4 = 32
        self.prefix6 = 128
        self.network: IPv4Network | IPv6Network | None = None


class SpfRecord:
    """The mechanisms in order, and the modifiers; `redirect` and `explanation` are macro strings, None if absent."""

    __slots__ = ("explanation", "redirect", "terms")

    def __init__(self) -> None:
        self.terms: list[SpfTerm] = []
        self.redirect: bytes | None = None
        self.explanation: bytes | None = None


def is_spf(text: bytes) -> bool:
    """Return whether a TXT record is an SPF record."""
    return text[:6].lower() == b"v=spf1" and text[6:7] in (b"", b" ")


def parse_spf(text: bytes) -> SpfRecord:
    """Read a record for which `is_spf` holds.

    Fails: InvalidSpfRecord.
    """
    if len(text) > MAX_RECORD:
        raise InvalidSpfRecord("record too long")
    if not text.isascii():
        raise InvalidSpfRecord("record not in ASCII")
    record = SpfRecord()
    for term in text[6:].split(b" "):
        if not term:
            continue
        mechanism = _TERM.fullmatch(term)
        if mechanism is not None:
            record.terms.append(_mechanism(term, *mechanism.groups()))
        else:
            _add_modifier(record, term)
    return record


def _add_modifier(record: SpfRecord, term: bytes) -> None:
    found = _MODIFIER.fullmatch(term)
    if found is None:
        raise InvalidSpfRecord(f"unknown term {term[:60].decode()}")
    name, value = found[1].lower(), found[2]
    if name == b"redirect":
        if record.redirect is not None:
            raise InvalidSpfRecord("two redirects")
        record.redirect = _domain_spec(value)
    elif name == b"exp":
        if record.explanation is not None:
            raise InvalidSpfRecord("two explanations")
        record.explanation = _domain_spec(value)
    else:
        check_macro_string(value)


def check_macro_string(text: bytes) -> None:
    """Check the macros of a text.  Fails: InvalidSpfRecord."""
    if not _MACRO_STRING.fullmatch(text) or _ZERO.search(text):
        raise InvalidSpfRecord(f"macro error in {text[:60].decode('latin-1')}")


def _domain_spec(text: bytes) -> bytes:
    check_macro_string(text)
    if _ONLY_EXPLANATIONS.search(text):
        raise InvalidSpfRecord("macro that only explanations may have")
    if not (_MACRO_END.search(text) or _ends_in_top_label(text)):
        raise InvalidSpfRecord(f"no domain: {text[:60].decode()}")
    return text


def _ends_in_top_label(text: bytes) -> bool:
    _, dot, label = text.removesuffix(b".").rpartition(b".")
    return bool(dot) and _TOP_LABEL.fullmatch(label) is not None and not label.isdigit()


def _mechanism(term: bytes, qualifier: bytes, name: bytes, rest: bytes) -> SpfTerm:
    found = SpfTerm(name.lower(), RESULTS[qualifier], term)
    _PARSERS[found.name](found, rest)
    return found


def _parse_all(term: SpfTerm, rest: bytes) -> None:
    if rest:
        raise InvalidSpfRecord("all with an argument")


def _parse_domain(term: SpfTerm, rest: bytes) -> None:
    if rest[:1] != b":":
        raise InvalidSpfRecord(f"{term.name.decode()} without a domain")
    term.domain = _domain_spec(rest[1:])


def _parse_ptr(term: SpfTerm, rest: bytes) -> None:
    if rest:
        _parse_domain(term, rest)


def _parse_hosts(term: SpfTerm, rest: bytes) -> None:
    """A domain, and lengths for IPv4 and IPv6 behind it."""
    found = _PREFIX.fullmatch(rest)
    if found is None:
        raise InvalidSpfRecord(f"{term.name.decode()}: syntax error")
    domain, prefix4, prefix6 = found.groups()
    if domain:
        _parse_domain(term, domain)
    term.prefix4 = _length(prefix4, 32)
    term.prefix6 = _length(prefix6, 128)


def _length(text: bytes | None, longest: int) -> int:
    length = longest if text is None else int(text)
    if length > longest:
        raise InvalidSpfRecord(f"prefix length {length}")
    return length


def _parse_network(term: SpfTerm, rest: bytes) -> None:
    kind, longest = (IPv4Network, 32) if term.name == b"ip4" else (IPv6Network, 128)
    address, slash, length = rest[1:].partition(b"/")
    if rest[:1] != b":" or (slash and not re.fullmatch(rb"0|[1-9][0-9]{0,2}", length)):
        raise InvalidSpfRecord(f"{term.name.decode()}: no network")
    bits = _length(length if slash else None, longest)
    try:
        term.network = kind((address.decode(), bits), strict=False)
    except ValueError as error:
        raise InvalidSpfRecord(f"{term.name.decode()}: no network") from error


_PARSERS: "dict[bytes, Callable[[SpfTerm, bytes], None]]" = {
    b"all": _parse_all,
    b"include": _parse_domain,
    b"exists": _parse_domain,
    b"ptr": _parse_ptr,
    b"a": _parse_hosts,
    b"mx": _parse_hosts,
    b"ip4": _parse_network,
    b"ip6": _parse_network,
}
