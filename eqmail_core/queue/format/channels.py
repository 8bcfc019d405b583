"""The two channels of a queue, and the due time of held messages.

A held message waits like any other, for a time that never comes (`HELD_UNTIL`). C's qmail-send reads the same times
from the files, so it does not deliver it either.

Source: queue.md 3.7 (qmail-send.c).
"""

LOCAL, REMOTE = 0, 1
"""The two channels, as indices."""

CHANNELS = ("local", "remote")
"""Names of the channels by index; also the names of their folders."""

HELD_UNTIL = 4_102_444_800
"""Due time of a held message: 2100-01-01, later than any retry and within the range of file systems."""
