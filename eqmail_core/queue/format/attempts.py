"""The file lock/attempts: which recipients were deferred, how often, and why the last time.

A line is NUMBER BIRTH CHANNEL OFFSET COUNT TIME REASON: number and birth of the message, channel l or r and offset of
the recipient in its list, how many attempts the line stands for, when the last of them ended, and its report. Lines of
one recipient add up. The file only informs people: nothing in the queue depends on it, and C does not know it.

Fails: never; a line of another form is passed over.
"""

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_REASON = 400
"""Longest reason that is kept, in bytes."""

MAX_BYTES = 16 << 20
"""Size of the file at which ended messages, then the ones longest untried, are taken out."""

_LETTERS = (b"l", b"r")
_CHANNELS = {b"l": 0, b"r": 1}
_UNPRINTABLE = bytes(32 if byte < 32 or byte == 127 else byte for byte in range(256))

MessageKey = tuple[int, int]
"""Number and birth of a message; numbers are reused, and the birth distinguishes the messages."""

RecipientKey = tuple[int, int]
"""Channel and offset of a recipient."""


class FailedAttempts(NamedTuple):
    """The failed attempts for one recipient: how many, when the last one ended, and what it reported."""

    tries: int
    last: int
    reason: bytes


Attempts = dict[MessageKey, dict[RecipientKey, FailedAttempts]]
"""The failed attempts of each message, by recipient."""


def render_attempts(message: MessageKey, recipient: RecipientKey, attempts: FailedAttempts) -> bytes:
    """Return the line for one recipient."""
    number, birth = message
    channel, offset = recipient
    head = (number, birth, _LETTERS[channel], offset, attempts.tries, attempts.last)
    return b"%d %d %b %d %d %d " % head + reason_line(attempts.reason) + b"\n"


def reason_line(report: bytes) -> bytes:
    """Return a report as one line: it may end in a newline, and begin with what the remote host sent."""
    return b" ".join(report.translate(_UNPRINTABLE).split())[:MAX_REASON].rstrip()


def parse_attempts(text: bytes) -> Attempts:
    """Add up the lines; what follows the last newline is no line."""
    found: Attempts = {}
    for line in text.split(b"\n")[:-1]:
        parts = line.split(b" ", 6)
        try:
            number, birth, letter, offset, count, last, reason = parts
            message, recipient = (int(number), int(birth)), (_CHANNELS[letter], int(offset))
            attempts = FailedAttempts(int(count), int(last), reason)
        except (ValueError, KeyError):
            continue
        recipients = found.setdefault(message, {})
        before = recipients.get(recipient)
        if before is not None:
            attempts = attempts._replace(tries=before.tries + attempts.tries)
        recipients[recipient] = attempts
    return found


def render_all(attempts: Attempts, at_most: int) -> bytes:
    """Return the lines of all messages, one for each recipient, within a size.

    The messages that were tried last are kept.
    """
    kept: list[bytes] = []
    size = 0
    for lines in _by_last_attempt(attempts):
        size += len(lines)
        if size > at_most:
            break
        kept.append(lines)
    return b"".join(reversed(kept))


def _by_last_attempt(attempts: Attempts) -> "Iterator[bytes]":
    messages: Iterable[MessageKey] = sorted(
        attempts, key=lambda message: max(item.last for item in attempts[message].values()), reverse=True
    )
    for message in messages:
        yield b"".join(render_attempts(message, recipient, item) for recipient, item in attempts[message].items())
