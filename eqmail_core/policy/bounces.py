"""Who gets the news that a message failed, or still waits, and as what.

Source: queue.md 3.10 (qmail-send.c injectbounce); RFC 3464 for the other format.
"""

from collections.abc import Callable, Iterable, Iterator

from eqmail_core.formats.bounce import bounce_break, bounce_head, bounce_text, return_path
from eqmail_core.formats.dsn import (
    DELAYED,
    FAILED,
    blocks,
    header_only,
    original_head,
    recipient_status,
    report_end,
    report_head,
    status_head,
)
from eqmail_core.values.address import DOUBLE_BOUNCE, NULL_SENDER, bounce_recipient

Pieces = Callable[[], Iterable[bytes]]

TOO_LONG = b"I'm not going to try again; this message has been in the queue too long.\n"
"""What is added to a temporary failure that has become permanent by age."""

FAILURE_SUBJECT, DELAY_SUBJECT = b"failure notice", b"your message is delayed"

_DELAY_TEXT = (
    b"This is the mail system at %b.\n"
    b"Your message has not reached the following addresses yet. It is tried again\n"
    b"from time to time; you need not do anything.\n\n"
)
_HEADER_BYTES = 1 << 16
_CUT = b"\n--- The message had %d bytes; only its header is shown.\n"


class Postmaster:
    """Whose name stands on bounces, who gets bounces of bounces, and how bounces are written.

    `is_dsn`: as RFC 3464 wants them; `max_bytes`: larger messages come back as their header only, 0 for none.
    """

    __slots__ = ("box", "double_to", "host", "is_dsn", "max_bytes")

    def __init__(self, box: bytes, host: bytes, double_to: bytes, is_dsn: bool = False, max_bytes: int = 0) -> None:
        self.box = box
        self.host = host
        self.double_to = double_to
        self.is_dsn = is_dsn
        self.max_bytes = max_bytes


class Returned:
    """A message that is written about: sender, size in bytes, and when it came, as a date.

    `failures` opens what is to be said about recipients, in blocks; `original` opens the message.
    """

    __slots__ = ("arrival", "failures", "original", "sender", "size")

    def __init__(self, sender: bytes, arrival: bytes, size: int, failures: Pieces, original: Pieces) -> None:
        self.sender = sender
        self.arrival = arrival
        self.size = size
        self.failures = failures
        self.original = original


class Bounce:
    """One bounce: its envelope, and its text in `pieces`, each made when its turn comes."""

    __slots__ = ("pieces", "recipient", "sender")

    def __init__(self, sender: bytes, recipient: bytes, pieces: Iterator[bytes]) -> None:
        self.sender = sender
        self.recipient = recipient
        self.pieces = pieces


def compose(it: Returned, postmaster: Postmaster, date: bytes, boundary: bytes) -> Bounce | None:
    """The bounce for a failed message; None for a failed double bounce, which nobody gets.

    A failed bounce goes to the postmaster as a double bounce, any other failure to the sender.
    """
    if it.sender == DOUBLE_BOUNCE:
        return None
    sender = bounce_recipient(it.sender)
    is_double = not sender
    recipient = postmaster.double_to if is_double else sender
    if postmaster.is_dsn:
        head = report_head(date, postmaster.box, postmaster.host, recipient, FAILURE_SUBJECT, boundary)
        text = head + bounce_text(postmaster.host, is_double)
        pieces = _report(it, postmaster, sender, text, boundary, FAILED)
    else:
        head = bounce_head(date, postmaster.box, postmaster.host, recipient, is_double)
        pieces = _plain(it, postmaster, head, bounce_break(sender, is_double))
    return Bounce(DOUBLE_BOUNCE if is_double else NULL_SENDER, recipient, pieces)


def delay_warning(it: Returned, postmaster: Postmaster, date: bytes, boundary: bytes) -> Bounce | None:
    """What the sender of a message that still waits is told; None where nobody is to be told.

    It is always a report, so that nobody takes it for a failure, and never has more than the header.
    """
    sender = bounce_recipient(it.sender)
    if not sender or it.sender in (NULL_SENDER, DOUBLE_BOUNCE):
        return None
    head = report_head(date, postmaster.box, postmaster.host, sender, DELAY_SUBJECT, boundary)
    pieces = _report(it, postmaster, sender, head + _DELAY_TEXT % postmaster.host, boundary, DELAYED)
    return Bounce(NULL_SENDER, sender, pieces)


def _plain(it: Returned, postmaster: Postmaster, head: bytes, middle: bytes) -> Iterator[bytes]:
    yield head
    yield from it.failures()
    yield middle
    if postmaster.max_bytes and it.size > postmaster.max_bytes:
        yield from header_only(it.original(), postmaster.max_bytes)
        yield _CUT % it.size
    else:
        yield from it.original()


def _report(
    it: Returned, postmaster: Postmaster, sender: bytes, text: bytes, boundary: bytes, action: bytes
) -> Iterator[bytes]:
    yield text
    yield from it.failures()
    yield status_head(boundary, postmaster.host, it.arrival)
    for recipient, report in blocks(it.failures()):
        yield recipient_status(recipient, report, action)
    most = postmaster.max_bytes
    is_whole = action == FAILED and not (most and it.size > most)
    yield original_head(boundary, is_whole) + return_path(sender)
    yield from it.original() if is_whole else header_only(it.original(), most or _HEADER_BYTES)
    yield report_end(boundary)
