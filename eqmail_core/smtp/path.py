"""Parse addresses and parameters of MAIL and RCPT commands, as leniently as C eQmail.

Source: smtp-server.md 4.3 (qmail-smtpd.c addrparse, mailfrom_parms); RFC 5321 section 4.1.2, RFC 1870, RFC 4954.
"""

from eqmail_core.text.lines import leading_number

MAX_PATH = 899
"""Maximum length of an address from a client, in bytes."""

_QUOTE, _BACKSLASH = 34, 92


def parse_path(argument: bytes) -> bytes | None:
    """Extract the address of MAIL or RCPT without quoting and source route; None if too long.

    The address starts after the first <, or else after the first colon; without either it is empty.
    """
    return split_path(argument)[0]


def split_path(argument: bytes) -> tuple[bytes | None, bytes]:
    """Split the argument into the address, as `parse_path` returns it, and the text after it."""
    start = argument.find(b"<")
    if start >= 0:
        end_mark = 62
        rest = argument[start + 1 :]
    else:
        end_mark = 32
        rest = argument.partition(b":")[2].lstrip(b" ")
    if rest[:1] == b"@":
        rest = rest.partition(b":")[2]
    if b"\\" in rest or b'"' in rest:
        address, behind = _unquoted(rest, end_mark)
    else:
        end = rest.find(end_mark)
        address, behind = (rest, b"") if end < 0 else (rest[:end], rest[end + 1 :])
    return (address if len(address) <= MAX_PATH else None), behind


def _unquoted(text: bytes, end_mark: int) -> tuple[bytes, bytes]:
    """Copy up to the end mark outside quotes, and return the rest as well.

    A backslash keeps the next byte; quotes are dropped.
    """
    copied = bytearray()
    is_escaped = is_quoted = False
    for position, byte in enumerate(text):
        if is_escaped:
            copied.append(byte)
            is_escaped = False
        elif byte == end_mark and not is_quoted:
            return bytes(copied), text[position + 1 :]
        elif byte == _BACKSLASH:
            is_escaped = True
        elif byte == _QUOTE:
            is_quoted = not is_quoted
        else:
            copied.append(byte)
    return bytes(copied), b""


def parse_parameters(argument: bytes) -> tuple[int | None, bytes | None]:
    """Extract SIZE and AUTH of a MAIL command, None where absent; other parameters are ignored.

    They count only after something that looks like an address.
    """
    size = auth = None
    if argument.find(b">") > 4:
        for word in argument.split(b" "):
            key = word[:5].upper()
            if key == b"SIZE=":
                size = leading_number(word[5:24])
            elif key == b"AUTH=":
                auth = decode_xtext(word[5:])
    return size, auth


def decode_xtext(text: bytes) -> bytes:
    """Decode the value of an AUTH parameter.

    <> becomes the empty identity; only +3D and +2B are decoded, and any other + is dropped.
    """
    if text.startswith(b"<>"):
        return b"unknown"
    first, *others = text.split(b"+")
    decoded = [first]
    for other in others:
        code = other[:2].upper()
        if code == b"3D":
            decoded += (b"=", other[2:])
        elif code == b"2B":
            decoded += (b"+", other[2:])
        else:
            decoded.append(other)
    return b"".join(decoded)


def address_literal(address: bytes) -> bytes | None:
    """Return the dotted IPv4 address of BOX@[IP], or None for any other address."""
    if not address.endswith(b"]"):
        return None
    host = address.rpartition(b"@")[2]
    if not host.startswith(b"[") or len(host) == len(address):
        return None
    parts = host[1:-1].split(b".")
    if len(parts) != 4 or not all(part.isdigit() and len(part) <= 3 and int(part) < 256 for part in parts):
        return None
    return b".".join(b"%d" % int(part) for part in parts)
