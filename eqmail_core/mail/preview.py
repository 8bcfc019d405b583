"""Short previews of a message for a terminal: its subject and the beginning of its body.

Source: delivery.md 5.9 (qbiff.c, maildirwatch.c).
"""

from eqmail_core.mail.header import field_name, field_text

_PRINTABLE = range(32, 127)


def printable(data: bytes, instead: bytes) -> bytes:
    """Replace every unprintable byte by the byte `instead`."""
    return data.translate(bytes(byte if byte in _PRINTABLE else instead[0] for byte in range(256)))


def summary(fields: list[bytes], body: bytes, limit: int) -> bytes:
    """Return subject and body in one line of at most `limit` bytes, with line ends as slashes."""
    subject = b"".join([field_text(field) for field in fields if field_name(field) == b"subject"])
    return printable((subject + body[:limit])[:limit], b"/")


def arrival_notice(sender: bytes, local: bytes, fields: list[bytes], body: bytes) -> bytes:
    """Return qbiff's notice for a terminal: a bell and two lines of at most 78 bytes."""
    whom = printable(b"*** TO <%b> FROM <%b>" % (local, sender), b"_")
    return b"\r\n\a%b\r\n    %b\r\n" % (whom, summary(fields, body, 74))


def listing_entry(fields: list[bytes], body: bytes) -> bytes:
    """Return maildirwatch's entry for a message: envelope, From, subject and body."""
    shown = {field_name(field): field for field in fields}
    sender = field_text(shown.get(b"return-path", b"")).removesuffix(b"\n") or b"?"
    recipient = field_text(shown.get(b"delivered-to", b"")).removesuffix(b"\n") or b"?"
    lines = [b"FROM %b TO <%b>" % (printable(sender, b"?"), printable(recipient, b"?"))]
    if b"from" in shown:
        lines.append(b"\033[1m%b\033[0m" % printable(shown[b"from"].removesuffix(b"\n"), b"/"))
    lines.append(summary(fields, body, 158))
    return b"\n".join(lines) + b"\n\n"
