"""Limits log lines that one problem repeats, such as a full disk: one per period.

Fails: never.
"""

import time
from collections.abc import Callable

PERIOD_S = 60.0
MAX_KINDS = 256
"""Kinds of lines that are distinguished; beyond that all kinds are reset."""

_WITHOUT_NUMBERS = bytes.maketrans(b"123456789", b"000000000")


class RepeatedLines:
    """Lines that differ only in numbers are of one kind; `let` passes one of a kind per period."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[bytes, tuple[float, int]] = {}

    def let(self, line: bytes) -> bytes:
        """The line, with the number of suppressed ones of its kind; b"" if it is suppressed itself."""
        kind = line.translate(_WITHOUT_NUMBERS)
        while b"00" in kind:
            kind = kind.replace(b"00", b"0")
        now = self._clock()
        said_at, kept = self._kinds.get(kind, (now - PERIOD_S, 0))
        if 0 <= now - said_at < PERIOD_S:
            self._kinds[kind] = said_at, kept + 1
            return b""
        if len(self._kinds) >= MAX_KINDS:
            self._kinds.clear()
        self._kinds[kind] = now, 0
        return line + b" (and %d more of this kind since)" % kept if kept else line
