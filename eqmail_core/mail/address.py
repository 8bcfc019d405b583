"""Envelope addresses: plain bytes, split at the last @, and the two special senders.

Addresses come from the network or the disk and stay bytes. This module does not parse RFC 5322 syntax.

Source: addresses(5); queue.md 3.8 (VERP), 3.10 (special senders).
"""

NULL_SENDER = b""
DOUBLE_BOUNCE = b"#@[]"
VERP_SUFFIX = b"-@[]"
MAX_ADDRESS = 1002
"""Longest address that the queue accepts, in bytes."""


def split_address(address: bytes) -> tuple[bytes, bytes | None]:
    """Split at the last @ into local part and host; the host is None without an @."""
    box, at, host = address.rpartition(b"@")
    return (box, host) if at else (address, None)


def is_verp_base(sender: bytes) -> bool:
    """Return whether `sender` is PREFIX@HOST-@[], which is expanded once per recipient."""
    return sender.endswith(VERP_SUFFIX) and b"@" in sender[: -len(VERP_SUFFIX)]


def verp_sender(sender: bytes, recipient: bytes) -> bytes:
    """Expand a VERP base for one recipient: PREFIX + box=host + @HOST.

    Any other sender is returned unchanged.
    """
    box, host = split_address(recipient)
    if host is None or not is_verp_base(sender):
        return sender
    prefix, _, base_host = sender[: -len(VERP_SUFFIX)].rpartition(b"@")
    return prefix + box + b"=" + host + b"@" + base_host


def bounce_recipient(sender: bytes) -> bytes:
    """Return the recipient of bounces for `sender`: a VERP base loses its suffix."""
    return sender[: -len(VERP_SUFFIX)] if is_verp_base(sender) else sender


_UNSAFE = frozenset(b' "(),:;<>@[\\]\x7f') | frozenset(range(33)) | frozenset(range(128, 256))
_ESCAPED = frozenset(b'\r\n"\\')
_ONE_LINE = bytes.maketrans(b"\0\r\n", b"___")


def needs_quotes(box: bytes) -> bool:
    """Return whether a local part is not a dot-atom."""
    return not box or box[0] == 46 or box[-1] == 46 or b".." in box or not _UNSAFE.isdisjoint(box)


def quote_box(box: bytes) -> bytes:
    """Return the local part in header syntax, in double quotes where it needs them."""
    if not needs_quotes(box):
        return box
    return b'"' + b"".join(b"\\%c" % byte if byte in _ESCAPED else b"%c" % byte for byte in box) + b'"'


def quote_address(address: bytes) -> bytes:
    """Return an envelope address in header syntax; the empty address stays empty."""
    if not address:
        return b""
    box, at, host = address.rpartition(b"@")
    return quote_box(box) + b"@" + host if at else quote_box(address)


def one_line(text: bytes) -> bytes:
    """Replace NUL, CR and LF by _, so that the text cannot end a header line.

    C does so for newlines.
    """
    return text.translate(_ONE_LINE)


def header_address(address: bytes) -> bytes:
    """Return an envelope address for a header line: quoted, and always without a line end."""
    return quote_address(address).translate(_ONE_LINE)
