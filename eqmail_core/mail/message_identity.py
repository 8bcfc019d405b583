"""Which message: its number in the queue, its birth, and the mark that distinguishes it from others of that number.

A number is an inode number and comes back; two messages of one number may even be born in the same second. The mark is
nanoseconds: it follows from the serial of an accepted message and becomes the sub-second part of the modification time
of info/N, so that memory, journal and disk agree on what is one message. A file system that stores no nanoseconds
leaves the mark 0.

Light.
"""

_NS = 1_000_000_000
_MAX_DIGITS = 20


class MessageIdentity:
    """`birth`: seconds since the epoch; `mark`: nanoseconds, 0 if unknown."""

    __slots__ = ("birth", "mark", "number")

    def __init__(self, number: int, birth: int, mark: int = 0) -> None:
        self.number = number
        self.birth = birth
        self.mark = mark

    @classmethod
    def accepted(cls, number: int, birth: int, serial: int) -> "MessageIdentity":
        """Identify a message that the queue service accepted.

        The mark is below half a second, so that no reader of the time rounds it up.
        """
        return cls(number, birth, serial % 499_999_999 + 1)

    @classmethod
    def on_disk(cls, number: int, mtime_ns: int) -> "MessageIdentity":
        """Identify a preprocessed message by the modification time of info/N."""
        return cls(number, *divmod(mtime_ns, _NS))

    @classmethod
    def from_born_text(cls, number: int, text: bytes) -> "MessageIdentity | None":
        """Identify a message by its `born_text`; None for any other text."""
        birth, _, mark = text.partition(b".")
        is_text = birth.isdigit() and mark.isdigit() and len(birth) <= _MAX_DIGITS and len(mark) < 10
        return cls(number, int(birth), int(mark)) if is_text and int(birth) else None

    @property
    def born_ns(self) -> int:
        """Return the modification time of info/N, in nanoseconds."""
        return self.birth * _NS + self.mark

    def is_same(self, found: "MessageIdentity") -> bool:
        """Whether a message that was found on the disk is this one; its mark may have been lost there."""
        return (found.number, found.birth) == (self.number, self.birth) and found.mark in (self.mark, 0)

    def born_text(self) -> bytes:
        """Render birth and mark as todo/N has them."""
        return b"%d.%d" % (self.birth, self.mark)

    def delivery_name(self, offset: int) -> bytes:
        """Return the name of the delivery to the recipient at `offset` of its list, the same at every attempt.

        b"" without a mark.
        """
        return b"%d.M%dQ%dR%d" % (self.birth, self.mark, self.number, offset) if self.mark else b""
