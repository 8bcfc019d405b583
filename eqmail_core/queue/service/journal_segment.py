"""One file of the journal's ring, and how many of its messages are still needed."""

SEGMENT_PREFIX = "segment."
NEW_PREFIX = "new."
DAMAGED_PREFIX = "damaged."
"""Prefixes of the files of the ring, of files that are to join it, and of damaged ones kept for examination."""


class Segment:
    """One file of the ring; `needed` counts the messages whose current record is here.

    A suspect segment is not written any more: a flush of it failed, or part of it is damaged.
    `is_damaged`: it is kept for examination when it is not needed any more.
    `recorded` is written by the committing thread and `released` by its owner, so that neither waits for the other.
    """

    __slots__ = ("epoch", "fd", "is_damaged", "is_suspect", "path", "recorded", "released")

    def __init__(self, path: str, fd: int, epoch: int) -> None:
        self.path = path
        self.fd = fd
        self.epoch = epoch
        self.is_suspect = self.is_damaged = False
        self.recorded = 0
        self.released = 0

    @property
    def needed(self) -> int:
        """Count the messages that reusing this segment would lose."""
        return self.recorded - self.released
