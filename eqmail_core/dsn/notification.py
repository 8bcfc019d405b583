"""Composes bounces, success reports and delay warnings: recipient, format and text.

A sender that used DSN parameters (RFC 3461) always gets RFC 3464 reports, whatever the configured format is.
The sender requested them, and QSBMF cannot express success or ORCPT.

Source: queue.md 3.10 (qmail-send.c injectbounce); RFC 3461 section 6, RFC 3464 for the other format.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from eqmail_core.dsn.parameters import HEADER_ONLY, DsnParameters, render_dsn
from eqmail_core.dsn.qsbmf import ORIGINAL, bounce_break, bounce_head, bounce_text, failure_block, return_path
from eqmail_core.dsn.rfc3464 import (
    DELAYED,
    DELIVERED,
    EXPANDED,
    FAILED,
    RELAYED,
    blocks,
    header_only,
    listed,
    original_head,
    recipient_status,
    report_end,
    report_head,
    status_head,
)
from eqmail_core.mail.address import DOUBLE_BOUNCE, NULL_SENDER, bounce_recipient
from eqmail_core.mail.envelope import Envelope
from eqmail_core.text.charset import as_utf8, charset_of

Pieces = Callable[[], Iterable[bytes]]

TOO_LONG = b"I'm not going to try again; this message has been in the queue too long.\n"
"""Appended to the report of a temporary failure that became permanent by age."""

DELIVERED_TEXT = b"The message was delivered. (#2.0.0)\n"
RELAYED_TEXT = b"The message was passed on to a mail system that does not tell what becomes of it. (#2.0.0)\n"
EXPANDED_TEXT = b"The message was passed on to several addresses. (#2.0.0)\n"
"""The whole report of a successful delivery, for NOTIFY=SUCCESS."""

FAILURE_SUBJECT, DELAY_SUBJECT = b"failure notice", b"your message is delayed"
SUCCESS_SUBJECT = b"your message was delivered"

_DELAY_TEXT = (
    b"This is the mail system at %b.\n"
    b"Your message has not reached the following addresses yet. It is tried again\n"
    b"from time to time; you need not do anything.\n\n"
)
_SUCCESS_HEAD = b"This is the mail system at %b.\n"
_SUCCESS_TEXT = b"Your message was delivered to the following addresses, as you wished to know.\n\n"
_NO_DSN = DsnParameters()
_SUCCESSES = {DELIVERED_TEXT.strip(): DELIVERED, RELAYED_TEXT.strip(): RELAYED, EXPANDED_TEXT.strip(): EXPANDED}
_HEADER_BYTES = 1 << 16
_MAX_LISTED_BYTES = 1 << 20
# The MIME boundary of a report; the Message-ID makes it unique, so that it occurs in no message.
_BOUNDARY = b"=_%b"
_CUT = b"\n--- The message had %d bytes; only its header is shown.\n"


class BounceConfig:
    """The sender of bounces (box@host), the recipient of double bounces, and the format.

    `is_dsn`: use the format of RFC 3464. `max_bytes`: larger messages are returned as their header only; 0: no limit.
    `max_recipients`: the number of recipients to list; 0: all.
    """

    __slots__ = ("box", "double_to", "host", "is_dsn", "max_bytes", "max_recipients")

    def __init__(
        self,
        box: bytes,
        host: bytes,
        double_to: bytes,
        is_dsn: bool = False,
        max_bytes: int = 0,
        max_recipients: int = 0,
    ) -> None:
        self.box = box
        self.host = host
        self.double_to = double_to
        self.is_dsn = is_dsn
        self.max_bytes = max_bytes
        self.max_recipients = max_recipients


class ReportedMessage:
    """The message that a notification reports on.

    `size` is in bytes, `arrival` a date.
    `failures` opens the recipient blocks (bounce/N); `original` opens the message.
    `dsn`: the DSN parameters, None without any.
    """

    __slots__ = ("arrival", "dsn", "failures", "original", "sender", "size")

    def __init__(
        self,
        sender: bytes,
        arrival: bytes,
        size: int,
        failures: Pieces,
        original: Pieces,
        dsn: DsnParameters | None = None,
    ) -> None:
        self.sender = sender
        self.arrival = arrival
        self.size = size
        self.failures = failures
        self.original = original
        self.dsn = dsn


class Notification:
    """One notification: its envelope, with one recipient, and its text, which `pieces` generates on demand."""

    __slots__ = ("envelope", "pieces")

    def __init__(self, envelope: Envelope, pieces: Iterator[bytes]) -> None:
        self.envelope = envelope
        self.pieces = pieces

    @property
    def recipient(self) -> bytes:
        """Return whom it is sent to."""
        return self.envelope.recipients[0]


def compose(message: ReportedMessage, bounce_config: BounceConfig, date: bytes, id_left: bytes) -> Notification | None:
    """Compose the bounce or final report for a message; None for a failed double bounce.

    A failed bounce goes to the postmaster as a double bounce, any other failure to the sender.
    `id_left`: the part of its Message-ID before the @, of dots, letters and digits, never used twice.
    """
    if message.sender == DOUBLE_BOUNCE:
        return None
    sender = bounce_recipient(message.sender)
    is_double = not sender
    recipient = bounce_config.double_to if is_double else sender
    if bounce_config.is_dsn or (message.dsn is not None and message.dsn.has_notify):
        pieces = _final_report(message, bounce_config, sender, date, id_left)
    else:
        head = partial(bounce_head, date, bounce_config.box, bounce_config.host, recipient, is_double, id_left)
        pieces = _plain_text(message, bounce_config, head, bounce_break(sender, is_double))
    own_sender = DOUBLE_BOUNCE if is_double else NULL_SENDER
    return Notification(Envelope(own_sender, [recipient], _own_dsn(message, recipient)), pieces)


def delay_warning(
    message: ReportedMessage, bounce_config: BounceConfig, date: bytes, id_left: bytes
) -> Notification | None:
    """Compose the delay warning for a queued message; None for bounces and double bounces.

    The format is always RFC 3464, so that it is not mistaken for a failure. It returns only the header of the message.
    `id_left`: as in `compose`.
    """
    sender = bounce_recipient(message.sender)
    if not sender or message.sender in (NULL_SENDER, DOUBLE_BOUNCE):
        return None
    pieces = _delay_report(message, bounce_config, sender, date, id_left)
    return Notification(Envelope(NULL_SENDER, [sender], _own_dsn(message, sender)), pieces)


def _own_dsn(message: ReportedMessage, recipient: bytes) -> bytes:
    """Return the notification's own DSN parameters: SMTPUTF8 if its recipient needs it, REQUIRETLS as the message.

    Source: RFC 6533 section 4; RFC 8689 section 5.
    """
    if message.dsn is None:
        return b""
    is_utf8 = message.dsn.is_utf8 and not recipient.isascii()
    return render_dsn(DsnParameters(is_utf8, requires_tls=message.dsn.requires_tls))


def _plain_text(
    message: ReportedMessage, bounce_config: BounceConfig, head: Callable[[bytes], bytes], middle: bytes
) -> Iterator[bytes]:
    is_cut = 0 < bounce_config.max_bytes < message.size

    def parts() -> Iterator[bytes]:
        yield from _failures(message, bounce_config)
        yield middle
        yield from header_only(message.original(), bounce_config.max_bytes) if is_cut else message.original()

    yield head(charset_of(parts()))
    yield from parts()
    if is_cut:
        yield _CUT % message.size


def _failures(message: ReportedMessage, bounce_config: BounceConfig) -> Iterator[bytes]:
    return listed(message.failures(), bounce_config.max_recipients, _MAX_LISTED_BYTES)


def _final_report(
    message: ReportedMessage, bounce_config: BounceConfig, sender: bytes, date: bytes, id_left: bytes
) -> Iterator[bytes]:
    """Generate the report on a message whose recipients have all failed or succeeded."""
    boundary = _BOUNDARY % id_left
    statuses = list(_recipient_statuses(message, bounce_config)) if message.dsn is not None else []
    successes = [block for block in statuses if block.action != FAILED]
    failures = [block for block in statuses if block.action == FAILED] if successes else []
    has_failed = bool(failures) or not successes
    subject = FAILURE_SUBJECT if has_failed else SUCCESS_SUBJECT
    recipient = sender or bounce_config.double_to
    yield report_head(date, bounce_config.box, bounce_config.host, recipient, subject, id_left, boundary)
    yield bounce_text(bounce_config.host, not sender) if has_failed else _SUCCESS_HEAD % bounce_config.host
    if successes:
        yield from as_utf8(map(RecipientStatus.text, failures))
        yield _SUCCESS_TEXT
        yield from as_utf8(map(RecipientStatus.text, successes))
    else:
        yield from as_utf8(_failures(message, bounce_config))
    is_whole = has_failed and not (bounce_config.max_bytes and message.size > bounce_config.max_bytes)
    yield from _multipart_report(
        message, bounce_config, sender, boundary, _recipient_statuses(message, bounce_config), is_whole
    )


def _delay_report(
    message: ReportedMessage, bounce_config: BounceConfig, sender: bytes, date: bytes, id_left: bytes
) -> Iterator[bytes]:
    """Generate the report on a delayed message."""
    boundary = _BOUNDARY % id_left
    yield report_head(date, bounce_config.box, bounce_config.host, sender, DELAY_SUBJECT, id_left, boundary)
    yield _DELAY_TEXT % bounce_config.host
    yield from as_utf8(_failures(message, bounce_config))
    yield from _multipart_report(
        message, bounce_config, sender, boundary, _recipient_statuses(message, bounce_config, DELAYED), False
    )


def _multipart_report(
    message: ReportedMessage,
    bounce_config: BounceConfig,
    sender: bytes,
    boundary: bytes,
    statuses: "Iterable[RecipientStatus]",
    is_whole: bool,
) -> Iterator[bytes]:
    """Generate the parts after the text: recipient statuses, and the original or its header."""
    dsn = message.dsn or _NO_DSN
    yield status_head(boundary, bounce_config.host, message.arrival, dsn.envid)
    for block in statuses:
        yield recipient_status(block.recipient, block.report, block.action, block.orcpt)
    is_whole = is_whole and dsn.ret != HEADER_ONLY
    yield original_head(boundary, is_whole, dsn.is_utf8) + return_path(sender)
    yield from (
        message.original() if is_whole else header_only(message.original(), bounce_config.max_bytes or _HEADER_BYTES)
    )
    yield report_end(boundary)


class RecipientStatus:
    """The report on one recipient; `orcpt` is the original recipient, b"" without one."""

    __slots__ = ("action", "orcpt", "recipient", "report")

    def __init__(self, recipient: bytes, report: bytes, orcpt: bytes, action: bytes) -> None:
        self.recipient = recipient
        self.report = report
        self.orcpt = orcpt
        self.action = action

    def text(self) -> bytes:
        """Return the block of the human-readable part."""
        return failure_block(self.recipient, self.report, self.orcpt)


def _recipient_statuses(
    message: ReportedMessage, bounce_config: BounceConfig, action: bytes = b""
) -> Iterator[RecipientStatus]:
    """Generate the status of each recipient with a report.

    An empty `action` is derived from the text of each report.
    An ORCPT counts only if the sender gave it, because a report may be a text from a remote host.
    """
    names = {recipient_dsn.orcpt for recipient_dsn in message.dsn.all_recipients()} if message.dsn is not None else ()
    for recipient, report in blocks(_failures(message, bounce_config)):
        text, _, last = report.rpartition(b"\n")
        name = last.removeprefix(ORIGINAL)
        orcpt = name if name != last and name in names else b""
        text = text if orcpt else report
        yield RecipientStatus(recipient, text, orcpt, action or _SUCCESSES.get(text, FAILED))
