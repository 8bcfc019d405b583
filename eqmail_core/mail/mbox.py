"""The mbox format: a From_ line, the message with its From_ lines quoted, an empty line.

Source: mbox(5), "mboxrd" quoting; RFC 4155.
"""

from eqmail_core.mail.dates import ctime_utc

_MARK = b"From "
_SEPARATORS = bytes.maketrans(b" \t\n\r\0", b"-----")


def from_line(sender: bytes, now: float) -> bytes:
    """Return the line that begins a message: b"From SENDER DATE" and LF; the date is UTC."""
    return b"From %b %b\n" % (sender.translate(_SEPARATORS) or b"MAILER-DAEMON", ctime_utc(now))


class FromQuoter:
    """Inserts > into every line that is From_ after any number of >; pieces may have any size.

    The new > goes behind the existing ones, which gives the same bytes and needs no memory for them.
    """

    __slots__ = ("_complete", "_fresh", "_held")

    def __init__(self) -> None:
        self._held = b""
        self._fresh = True
        self._complete = True

    def feed(self, data: bytes) -> bytes:
        """Quote the next piece; up to four bytes are kept for the next call."""
        if not data:
            return b""
        self._complete = data.endswith(b"\n")
        data = self._held + data
        keep = next((n for n in (4, 3, 2, 1) if data.endswith(_MARK[:n])), 0)
        self._held = data[len(data) - keep :]
        quoted = self._quote(data)
        return quoted[: len(quoted) - keep]

    def finish(self) -> bytes:
        """Return the end of the message: kept bytes, a missing LF, and the empty line."""
        return self._held + (b"\n" if self._complete else b"\n\n")

    def _quote(self, data: bytes) -> bytes:
        pieces = data.split(_MARK)
        for index in range(len(pieces) - 1):
            if self._at_start(pieces[index], index):
                pieces[index] += b">"
        last = pieces[-1][: len(pieces[-1]) - len(self._held)]
        self._fresh = self._at_start(last, len(pieces) - 1)
        return _MARK.join(pieces)

    def _at_start(self, before: bytes, index: int) -> bool:
        """Return whether only > stand between a line start and the end of `before`.

        `before` is the piece with number `index`.
        """
        other = before.rstrip(b">")
        if other:
            return other.endswith(b"\n")
        return index == 0 and self._fresh
