"""Envelope addresses: plain bytes, split at the last @, and the two special senders.

Addresses came from a wire or a disk and stay bytes; nothing here parses RFC 5322 syntax.

Source: addresses(5); queue.md 3.8 (VERP), 3.10 (special senders).
"""

NULL_SENDER = b""
DOUBLE_BOUNCE = b"#@[]"
VERP_SUFFIX = b"-@[]"
MAX_ADDRESS = 1002
"""Longest address that the queue takes, in bytes."""


def split_address(address: bytes) -> tuple[bytes, bytes | None]:
    """Split at the last @ into box and host; the host is None where there is no @."""
    box, at, host = address.rpartition(b"@")
    return (box, host) if at else (address, None)


def is_verp_base(sender: bytes) -> bool:
    """Tell whether `sender` is PREFIX@HOST-@[], to be expanded once per recipient."""
    return sender.endswith(VERP_SUFFIX) and b"@" in sender[: -len(VERP_SUFFIX)]


def verp_sender(sender: bytes, recipient: bytes) -> bytes:
    """Expand a VERP base for one recipient: PREFIX + box=host + @HOST; other senders stay as they are."""
    box, host = split_address(recipient)
    if host is None or not is_verp_base(sender):
        return sender
    prefix, _, base_host = sender[: -len(VERP_SUFFIX)].rpartition(b"@")
    return prefix + box + b"=" + host + b"@" + base_host


def bounce_recipient(sender: bytes) -> bytes:
    """The address that gets a bounce for mail from `sender`: a VERP base without its suffix."""
    return sender[: -len(VERP_SUFFIX)] if is_verp_base(sender) else sender


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
