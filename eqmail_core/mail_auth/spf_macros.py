"""Macros of SPF records: %{i}, %{d2r} and the like.

Source: RFC 7208 section 7.
"""

import re
from ipaddress import IPv4Address, IPv6Address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_MACRO = re.compile(rb"%(?:\{([A-Za-z])([0-9]*)([rR]?)([.\-+,/_=]*)\}|([%_-]))")
_LITERALS = {b"%": b"%", b"_": b" ", b"-": b"%20"}
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

MAX_NAME = 253


def macro_values(
    ip: IPv4Address | IPv6Address, sender: bytes, helo: bytes, receiver: bytes, now: int
) -> dict[bytes, bytes]:
    """Return the values of all macros but d and p, by letter.

    `sender`: an address with a local part.
    """
    local, _, domain = sender.rpartition(b"@")
    is_v4 = isinstance(ip, IPv4Address)
    return {
        b"s": sender,
        b"l": local,
        b"o": domain,
        b"i": str(ip).encode() if is_v4 else b".".join(b"%c" % it for it in ip.exploded.upper().encode() if it != 58),
        b"h": helo,
        b"c": str(ip).encode(),
        b"v": b"in-addr" if is_v4 else b"ip6",
        b"r": receiver,
        b"t": b"%d" % now,
    }


def uses_validated_name(text: bytes) -> bool:
    """Return whether %{p} occurs, which needs the DNS."""
    return any(found[1] and found[1].lower() == b"p" for found in _MACRO.finditer(text))


def expand(text: bytes, values: "Mapping[bytes, bytes]") -> bytes:
    """Return a valid macro string with all macros replaced."""

    def value(found: "re.Match[bytes]") -> bytes:
        letter, digits, is_reversed, delimiters, literal = found.groups()
        if literal:
            return _LITERALS[literal]
        parts = re.split(b"[" + re.escape(delimiters or b".") + b"]", values[letter.lower()])
        if is_reversed:
            parts.reverse()
        if digits:
            parts = parts[-int(digits[-6:]) :]
        text = b".".join(parts)
        return _quoted(text) if letter.isupper() else text

    return _MACRO.sub(value, text)


def expand_domain(text: bytes, values: "Mapping[bytes, bytes]") -> bytes:
    """Return the name that a domain-spec stands for; labels on the left are cut off where it is too long."""
    name = expand(text, values).removesuffix(b".")
    while len(name) > MAX_NAME and b"." in name:
        name = name.partition(b".")[2]
    return name


def _quoted(text: bytes) -> bytes:
    return b"".join(b"%c" % byte if byte in _UNRESERVED else b"%%%02X" % byte for byte in text)
