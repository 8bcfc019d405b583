"""The output of qmail-qread and qmail-qstat about the messages in the queue.

Source: programs.md 1.9 (qmail-qread.c, qmail-qstat).
"""

from eqmail_core.mail.dates import date822

_SHOWN = bytes(byte if 32 <= byte <= 126 else 95 for byte in range(256))
_ZONE_SIZE = 6


def message_line(number: int, birth: float, size: int, sender: bytes, bounces: bool) -> bytes:
    """Return the first line of a message.

    Date (`birth` in seconds), number, size in bytes, sender, and whether it bounces.

    The date is local time, although the line says GMT, as in every qmail.
    """
    text = b"%b GMT  #%d  %d  <%b> " % (date822(birth)[:-_ZONE_SIZE], number, size, sender)
    return (text + (b" bouncing" if bounces else b"")).translate(_SHOWN) + b"\n"


def recipient_line(channel: str, done: bool, recipient: bytes) -> bytes:
    """Return the line of one recipient, done or still to do."""
    return b"%b\t%b\t%b\n" % (b"  done" if done else b"", channel.encode(), recipient.translate(_SHOWN))


def count_lines(messages: int, unprocessed: int) -> bytes:
    """Return the two lines of qmail-qstat without options."""
    return b"messages in queue: %d\nmessages in queue but not yet preprocessed: %d\n" % (messages, unprocessed)


def check_lines(split: bool, user_lookup: bool, modes: bool) -> bytes:
    """Return the report of qmail-fixq: whether split, owners and modes of the queue are right."""
    return b"Checking queue for issues ...\n%b\n%b\n%b\n" % (
        b"splitting ok!" if split else b"invalid queue split",
        b"user/group ok!" if user_lookup else b"invalid owner(s) or group!",
        b"permissions ok!" if modes else b"invalid permissions(s)!",
    )
