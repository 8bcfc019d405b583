"""Limit the log lines that clients cause, per address and minute; count the rest.

Source: docs/SECURITY.md "Limits".
"""

LINES = 60
"""Maximum number of lines per address and minute."""

ADDRESSES = 4096
"""Maximum number of addresses counted separately in a minute; all further ones count as one."""

_MINUTE_S = 60


class LineBudget:
    """The budget of the current minute; the clock is an argument, in seconds."""

    __slots__ = ("_counts", "_left_out", "_minute", "_reported_minute")

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}
        self._left_out = 0
        self._minute = 0
        self._reported_minute = 0

    def admits(self, address: bytes, now: int) -> bool:
        """Whether a line about this address may be written; otherwise the line is counted."""
        if now // _MINUTE_S != self._minute:
            self._counts.clear()
            self._minute = now // _MINUTE_S
        key = address if address in self._counts or len(self._counts) < ADDRESSES else b""
        count = self._counts[key] = self._counts.get(key, 0) + 1
        if count > LINES:
            self._left_out += 1
        return count <= LINES

    def left_out(self, now: int) -> int:
        """Return the number of suppressed lines once a minute; 0: nothing to report."""
        if not self._left_out or now // _MINUTE_S == self._reported_minute:
            return 0
        self._reported_minute = now // _MINUTE_S
        number, self._left_out = self._left_out, 0
        return number
