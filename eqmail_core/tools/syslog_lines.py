"""Prepares lines for syslog: printable, of limited length, with a stamp and a priority.

Source: programs.md 1.8 (splogger.c).
"""

from eqmail_core.mail.preview import printable

INFO, WARNING, ALERT = "info", "warning", "alert"

_LIMIT = 799
_RANKS = ((b"warning:", WARNING), (b"alert:", ALERT))


class SyslogLines:
    """Splits a log into entries: rank and text.

    A long line becomes several entries of the rank of the first.  With `stamped`, the first begins SECONDS.MICROSECONDS
    and a blank, the others with the same stamp and a plus sign.
    """

    __slots__ = ("_lead", "_line", "_rank", "_stamped")

    def __init__(self, stamped: bool) -> None:
        self._stamped = stamped
        self._line = b""
        self._rank = ""
        self._lead = b""

    def feed(self, data: bytes, now_us: int) -> list[tuple[str, bytes]]:
        """Return the entries of a piece that arrived at `now_us`, microseconds since the epoch."""
        entries = []
        *complete, rest = (self._line + data).split(b"\n")
        for line in complete:
            entries += self._cut(line, now_us)
            self._rank = ""
        while len(rest) > _LIMIT:
            entries += self._cut(rest[:_LIMIT], now_us)
            rest = rest[_LIMIT:]
        self._line = rest
        return entries

    def _cut(self, line: bytes, now_us: int) -> list[tuple[str, bytes]]:
        return [self._entry(line[at : at + _LIMIT], now_us) for at in range(0, len(line), _LIMIT)]

    def _entry(self, chunk: bytes, now_us: int) -> tuple[str, bytes]:
        text = printable(chunk, b"?")
        if self._rank:
            return self._rank, self._lead + text
        self._rank = next((rank for word, rank in _RANKS if text.startswith(word)), INFO)
        stamp = b"%d.%06d" % divmod(now_us, 1_000_000) if self._stamped else b""
        self._lead = stamp + b"+" if stamp else b""
        return self._rank, stamp + b" " + text if stamp else text
