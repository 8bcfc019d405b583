"""RFC 3464 reports: a text, the status of each recipient, and the original message.

The text comes first and is that of QSBMF; every line ends in LF.

Source: RFC 3464 (delivery status), RFC 6522 (multipart/report), RFC 6533 (addresses beyond ASCII), RFC 3834.
"""

import re
from collections.abc import Iterable, Iterator

from eqmail_core.dsn.qsbmf import AUTOMATIC, message_id
from eqmail_core.dsn.xtext import decode_xtext
from eqmail_core.mail.address import header_address, quote_box

FAILED, DELAYED, DELIVERED, RELAYED, EXPANDED = b"failed", b"delayed", b"delivered", b"relayed", b"expanded"

_STATUS = re.compile(rb"(?:\(#|Remote host said: \d{3}[ -])([245]\.\d{1,3}\.\d{1,3})\b")
_REMOTE = b"Remote host said: "
_STATUS_OF = {FAILED: b"5.0.0", DELAYED: b"4.0.0", DELIVERED: b"2.0.0", RELAYED: b"2.0.0"}
_UNPRINTABLE = bytes(byte if 32 <= byte <= 126 else 32 if byte == 10 else 63 for byte in range(256))

_ORIGINAL_TYPES = (
    (b"text/rfc822-headers", b"message/rfc822"),
    (b"message/global-headers", b"message/global"),
)

# RFC 5322 allows 998 characters in a line.
_MAX_TEXT = 900


def report_head(
    date: bytes, box: bytes, host: bytes, recipient: bytes, subject: bytes, id_left: bytes, boundary: bytes
) -> bytes:
    """Return the header of the report and of its first part, up to the text, which is UTF-8."""
    lines = (
        b"Date: " + date,
        b"From: %b@%b" % (quote_box(box), host),
        b"To: " + header_address(recipient),
        b"Subject: " + subject,
        message_id(id_left, host),
        b"MIME-Version: 1.0",
        b'Content-Type: multipart/report; report-type=delivery-status;\n\tboundary="%b"' % boundary,
        b"Content-Transfer-Encoding: 8bit",
        AUTOMATIC,
        b"",
        b"--" + boundary,
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Transfer-Encoding: 8bit",
        b"",
        b"",
    )
    return b"\n".join(lines)


def status_head(boundary: bytes, host: bytes, arrival: bytes, envid: bytes = b"") -> bytes:
    """Return the beginning of the message/delivery-status part.

    `arrival`: the date on which the message arrived. `envid`: xtext or b"".
    """
    form = b"\n--%b\nContent-Type: message/delivery-status\n\n%bReporting-MTA: dns; %b\nArrival-Date: %b\n"
    name = b"Original-Envelope-Id: %b\n" % _printable(decode_xtext(envid)) if envid else b""
    return form % (boundary, name, host, arrival)


def recipient_status(recipient: bytes, report: bytes, action: bytes, orcpt: bytes = b"") -> bytes:
    """Return the fields of one recipient.

    `report`: the text for people. `orcpt`: the original recipient, TYPE;XTEXT or b"".
    """
    found = [] if action in (DELIVERED, RELAYED) else _STATUS.findall(report)
    status = found[-1] if found else _STATUS_OF[action]
    text = report.strip().translate(_UNPRINTABLE)
    kind, _, said = text.partition(_REMOTE)
    diagnostic = b"smtp; " + said if said else b"X-eQmail; " + kind
    lines = [b"", b"Final-Recipient: " + _typed(recipient), b"Action: " + action, b"Status: " + status]
    if orcpt:
        lines.insert(1, b"Original-Recipient: " + _original(orcpt))
    if text and action not in (DELIVERED, RELAYED):
        lines.append(b"Diagnostic-Code: " + diagnostic[:_MAX_TEXT])
    return b"\n".join(lines) + b"\n"


def original_head(boundary: bytes, is_whole: bool, is_utf8: bool = False) -> bytes:
    """Return the beginning of the part with the original message or its header.

    `is_utf8`: the message uses SMTPUTF8 (RFC 6533).
    """
    kind = _ORIGINAL_TYPES[is_utf8][is_whole]
    return b"\n--%b\nContent-Type: %b\nContent-Transfer-Encoding: 8bit\n\n" % (boundary, kind)


def report_end(boundary: bytes) -> bytes:
    """Return the text after the original."""
    return b"\n--%b--\n" % boundary


def blocks(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Generate recipient and report of each block of a bounce file, which is read in pieces."""
    for block in paragraphs(pieces):
        first, _, report = block.strip(b"\n").partition(b"\n")
        if first.startswith(b"<") and first.endswith(b">:"):
            yield first[1:-2], report


def paragraphs(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Generate the blocks of a bounce file, each with the empty lines around it."""
    rest = b""
    for piece in pieces:
        rest += piece
        while (end := rest.find(b"\n\n<")) >= 0:
            yield rest[: end + 2]
            rest = rest[end + 2 :]
    if rest:
        yield rest


def listed(pieces: Iterable[bytes], limit: int, limit_bytes: int) -> Iterator[bytes]:
    """Generate the first blocks of a bounce file, and the number of the blocks left out.

    At most `limit` blocks (0: any number) of `limit_bytes` together, but at least one.
    """
    count = size = left = 0
    for block in paragraphs(pieces):
        if left or (count and ((limit and count >= limit) or size + len(block) > limit_bytes)):
            left += 1
            continue
        count += 1
        size += len(block)
        yield block
    if left:
        yield b"(%d more recipients are not listed here.)\n\n" % left


def header_only(pieces: Iterable[bytes], at_most: int) -> Iterator[bytes]:
    """Generate the header of a message, which is read in pieces; cut after `at_most` bytes."""
    last = b"\n"
    for piece in pieces:
        text = last + piece[:at_most]
        end = text.find(b"\n\n")
        yield text[len(last) :] if end < 0 else text[len(last) : end + 1]
        at_most -= len(piece)
        if end >= 0 or at_most <= 0:
            return
        last = piece[-1:]


def _original(orcpt: bytes) -> bytes:
    """Return an ORCPT in field syntax: its xtext decoded, ASCII only."""
    kind, _, text = orcpt.partition(b";")
    address = decode_xtext(text)
    if kind.lower() == b"utf-8" and any(byte > 126 for byte in address):
        return _typed(address)
    return b"%b; %b" % (kind, _printable(address))


def _printable(text: bytes) -> bytes:
    return text.translate(_UNPRINTABLE).replace(b"\n", b"?")


def _typed(address: bytes) -> bytes:
    """Return an address with its type: rfc822, or utf-8 with escapes beyond ASCII."""
    if all(32 < byte < 127 for byte in address):
        return b"rfc822; " + address
    text = address.decode("utf-8", "replace")
    spelled = "".join(
        letter if "!" <= letter <= "~" and letter not in "\\+=" else f"\\x{{{ord(letter):02X}}}" for letter in text
    )
    return b"utf-8; " + spelled.encode()
