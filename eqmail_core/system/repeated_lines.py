"""Limits log lines that one problem repeats, such as a full disk: one per period.

Fails: never.
"""

import time
from collections.abc import Callable

from eqmail_core.system.log import log_line

PERIOD_S = 60.0
MAX_KINDS = 256
"""Kinds of lines that are distinguished in a period; all others together are one more kind."""

_OTHERS = b""

_WITHOUT_NUMBERS = bytes.maketrans(b"123456789", b"000000000")


class RepeatedLines:
    """Lines that differ only in numbers are of one kind; `let` passes one of a kind per period."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[bytes, tuple[float, int]] = {}

    def reset(self) -> None:
        """Forget all lines."""
        self._kinds.clear()

    def let(self, line: bytes) -> bytes:
        """The line, with the number of suppressed ones of its kind; b"" if it is suppressed itself."""
        kind = line.translate(_WITHOUT_NUMBERS)
        while b"00" in kind:
            kind = kind.replace(b"00", b"0")
        now = self._clock()
        if kind not in self._kinds and len(self._kinds) >= MAX_KINDS:
            self._kinds = {
                known: seen for known, seen in self._kinds.items() if known == _OTHERS or 0 <= now - seen[0] < PERIOD_S
            }
            if len(self._kinds) >= MAX_KINDS:
                kind = _OTHERS
        said_at, kept = self._kinds.get(kind, (now - PERIOD_S, 0))
        if 0 <= now - said_at < PERIOD_S:
            self._kinds[kind] = said_at, kept + 1
            return b""
        self._kinds[kind] = now, 0
        what = b"this kind" if kind else b"many kinds"
        return line + b" (and %d more of %b since)" % (kept, what) if kept else line


_lines = RepeatedLines()


def say_seldom(program: str, text: str) -> None:
    """Write a log line that others can cause, or that may recur often: one of its kind a minute in this process."""
    line = _lines.let(text.encode("utf-8", "surrogateescape"))
    if line:
        log_line(program, line)


def forget_repeated() -> None:
    """Write the next line of every kind again."""
    _lines.reset()
