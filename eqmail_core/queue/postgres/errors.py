"""What can go wrong with the database, by what the queue service has to do about it.

All are OSErrors, as errors of a disk are: `strerror` says what happened, in one line.
"""

import errno


class DatabaseError(OSError):
    """The database refused, for certain: nothing of the request was done."""

    def __init__(self, text: str) -> None:
        super().__init__(errno.EIO, text)


class DatabaseAway(DatabaseError):
    """No connection; nothing was sent."""


class CommitUnknown(DatabaseError):
    """Sent, and without a clear answer: it may have been done, now or later."""


class Fenced(DatabaseError):
    """Another node took over what this node had; nothing was done."""
