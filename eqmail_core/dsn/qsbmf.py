"""The text of bounces (QSBMF): one block per failed recipient, and the text around them.

A block never contains an empty line, so that a reader finds its end.

Source: queue.md 3.10; cr.yp.to/proto/qsbmf.txt.
"""

import re

from eqmail_core.mail.address import header_address, one_line, quote_box

_REPEATED_NEWLINE = re.compile(rb"(?<=\n)\n")

_SINGLE = (
    b"I'm afraid I wasn't able to deliver your message to the following addresses.\n"
    b"This is a permanent error; I've given up. Sorry it didn't work out.\n\n"
)
_DOUBLE = b"I tried to deliver a bounce message to this address, but the bounce bounced!\n\n"
_SINGLE_BREAK = b"--- Below this line is a copy of the message.\n\n"
_DOUBLE_BREAK = b"--- Below this line is the original bounce.\n\n"


ORIGINAL = b"Original-Recipient: "
"""Prefix of the last line of a block whose recipient has an ORCPT."""


def failure_block(recipient: bytes, report: bytes, orcpt: bytes = b"") -> bytes:
    """Return the block of bounce/N for one recipient.

    `recipient`: the address before any rewriting. `orcpt`: as in `dsn.parameters`.
    """
    text = b"<%b>:\n%b" % (one_line(recipient), report)
    if not text.endswith(b"\n"):
        text += b"\n"
    if orcpt:
        text += b"%b%b\n" % (ORIGINAL, orcpt)
    return _REPEATED_NEWLINE.sub(b"/", text[:-1]) + b"\n\n"


AUTOMATIC = b"Auto-Submitted: auto-replied"
"""The field that marks a message as automatic (RFC 3834 section 5)."""


def message_id(id_left: bytes, host: bytes) -> bytes:
    """Return the Message-ID field; `id_left`: dots, letters and digits, never used twice."""
    return b"Message-ID: <%b@%b>" % (id_left, host)


def text_fields(charset: bytes) -> tuple[bytes, ...]:
    """The fields of a message of plain text that is not all ASCII."""
    return (
        b"MIME-Version: 1.0",
        b"Content-Type: text/plain; charset=" + charset,
        b"Content-Transfer-Encoding: 8bit",
    )


def bounce_head(
    date: bytes,
    box: bytes,
    host: bytes,
    recipient: bytes,
    is_double: bool,
    id_left: bytes,
    charset: bytes = b"",
) -> bytes:
    """Return header and greeting, up to the first block.

    `date`: as in RFC 5322. The bounce comes from box@host. `charset`: of the text that follows, b"" for ASCII.
    """
    lines = (
        b"Date: " + date,
        b"From: %b@%b" % (quote_box(box), host),
        b"To: " + header_address(recipient),
        b"Subject: failure notice",
        message_id(id_left, host),
        AUTOMATIC,
        *(text_fields(charset) if charset else ()),
        b"",
        bounce_text(host, is_double),
    )
    return b"\n".join(lines)


def bounce_text(host: bytes, is_double: bool) -> bytes:
    """Return the greeting, whose first line identifies a bounce of qmail to programs."""
    return b"Hi. This is the qmail-send program at %b.\n%b" % (host, _DOUBLE if is_double else _SINGLE)


def bounce_break(sender: bytes, is_double: bool) -> bytes:
    """Return the text between the blocks and the original message from `sender`."""
    return (_DOUBLE_BREAK if is_double else _SINGLE_BREAK) + return_path(sender)


def return_path(sender: bytes) -> bytes:
    """Return the first header field of the original."""
    return b"Return-Path: <%b>\n" % header_address(sender)
