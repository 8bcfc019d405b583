"""A file of the journal's ring, and what of it is still needed."""

SEGMENT_PREFIX = "segment."
DAMAGED_PREFIX = "damaged."
"""How the names of the files of the ring begin, and of those that were taken out of it to be looked at."""


class Segment:
    """One file of the ring; `needed` counts the messages whose current record stands here.

    `is_suspect`: it is not written any more, because a flush of it failed or something in it is damaged.
    `is_damaged`: it is kept for who wants to look at it when it is not needed any more.
    `recorded` is written by the committing thread and `released` by its owner, so that neither waits for the other.
    """

    __slots__ = ("epoch", "fd", "is_damaged", "is_dnsbl", "path", "recorded", "released")

    def __init__(self, path: str, fd: int, epoch: int) -> None:
        self.path = path
        self.fd = fd
        self.epoch = epoch
        self.is_dnsbl = self.is_damaged = False
        self.recorded = 0
        self.released = 0

    @property
    def needed(self) -> int:
        """Messages that a new use of this segment would lose."""
        return self.recorded - self.released
