"""The file info/N: who sent a message; its modification time is the message's birth.

The wishes of a message, if it has any, are a second record, which C does not look at.  The nanoseconds of the time are
the message's mark, which C does not look at either: number and birth alone may come back within a second.

Source: queue.md 3.3.
"""


def render_info(sender: bytes, dsn: bytes = b"") -> bytes:
    """An info file; `wishes` as in `formats.wishes`."""
    return b"F%b\0%b\0" % (sender, dsn) if dsn else b"F%b\0" % sender


def parse_info(text: bytes) -> bytes | None:
    """The sender; None where the text is no complete record, as an interrupted writer leaves it."""
    record, end, _ = text.partition(b"\0")
    return record[1:] if end and record[:1] == b"F" else None


def dsn_in_info(text: bytes) -> bytes:
    """The wishes, b"" where there are none."""
    dsn, end, _ = text.partition(b"\0")[2].partition(b"\0")
    return dsn if end else b""


def mark_of(serial: int) -> int:
    """The mark of an admitted message; less than half a second, so that no reader of the time rounds it up."""
    return serial % 499_999_999 + 1


def born_ns(birth: int, mark: int) -> int:
    """The modification time of info/N, in nanoseconds."""
    return birth * 1_000_000_000 + mark


def is_born(mtime_ns: int, birth: int, mark: int) -> bool:
    """Whether an info file with this modification time is that of the message.

    A file system may know no nanoseconds.
    """
    return mtime_ns in (born_ns(birth, mark), born_ns(birth, 0))


def delivery_name(birth: int, mark: int, number: int, offset: int) -> bytes:
    """What a delivery is called: the same at every attempt for the recipient at `offset` of the list of its channel.

    b"" without a mark, which is how file systems leave it that know no nanoseconds.
    """
    return b"%d.M%dQ%dR%d" % (birth, mark, number, offset) if mark else b""
