"""Quoting of local parts in headers and SMTP commands.

Source: delivery.md 5.5; RFC 5321 section 4.1.2 (quoted-string).
"""

_UNSAFE = frozenset(b' "(),:;<>@[\\]\x7f') | frozenset(range(33)) | frozenset(range(128, 256))
_ESCAPED = frozenset(b'\r\n"\\')
_ONE_LINE = bytes.maketrans(b"\0\r\n", b"___")


def needs_quotes(box: bytes) -> bool:
    """Tell whether a local part is no dot-atom."""
    return not box or box[0] == 46 or box[-1] == 46 or b".." in box or not _UNSAFE.isdisjoint(box)


def quote_box(box: bytes) -> bytes:
    """The local part as it may stand in a header: itself, or in double quotes."""
    if not needs_quotes(box):
        return box
    return b'"' + b"".join(b"\\%c" % byte if byte in _ESCAPED else b"%c" % byte for byte in box) + b'"'


def quote_address(address: bytes) -> bytes:
    """An envelope address as it may stand in a header; the empty address stays empty."""
    if not address:
        return b""
    box, at, host = address.rpartition(b"@")
    return quote_box(box) + b"@" + host if at else quote_box(address)


def one_line(text: bytes) -> bytes:
    """The text with _ in the place of every byte that would end a line of a header, as C has it for newlines."""
    return text.translate(_ONE_LINE)


def header_address(address: bytes) -> bytes:
    """An envelope address for a line of its own in a header: quoted, and without a line end, whoever gave it."""
    return quote_address(address).translate(_ONE_LINE)
