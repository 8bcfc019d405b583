"""A file of the journal's ring, and what of it is still needed."""


class Segment:
    """One file of the ring; `needed` counts the messages whose current record stands here.

    `is_suspect`: it is not written any more, because a flush of it failed or something in it is damaged.
    `recorded` is written by the committing thread and `released` by its owner, so that neither waits for the other.
    """

    __slots__ = ("epoch", "fd", "is_suspect", "path", "recorded", "released")

    def __init__(self, path: str, fd: int, epoch: int) -> None:
        self.path = path
        self.fd = fd
        self.epoch = epoch
        self.is_suspect = False
        self.recorded = 0
        self.released = 0

    @property
    def needed(self) -> int:
        """Messages that a new use of this segment would lose."""
        return self.recorded - self.released
