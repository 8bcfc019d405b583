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
