"""The file info/N: the envelope sender of a message; its modification time is the message's birth.

The DSN parameters of a message, if any, are a second record, which C ignores. The nanoseconds of the time are the
message's mark, which C ignores too: number and birth alone may repeat within a second.

Source: queue.md 3.3.
"""


def render_info(sender: bytes, dsn: bytes = b"") -> bytes:
    """Return an info file; `dsn` as in eqmail_core/dsn/parameters.py."""
    return b"F%b\0%b\0" % (sender, dsn) if dsn else b"F%b\0" % sender


def parse_info(text: bytes) -> bytes | None:
    """Return the sender; None if the text is no complete record, as an interrupted writer leaves it."""
    record, end, _ = text.partition(b"\0")
    return record[1:] if end and record[:1] == b"F" else None


def dsn_in_info(text: bytes) -> bytes:
    """Return the DSN parameters, b"" if there are none."""
    dsn, end, _ = text.partition(b"\0")[2].partition(b"\0")
    return dsn if end else b""


def mark_of(serial: int) -> int:
    """Return the mark of an admitted message.

    It is below half a second, so that no reader of the time rounds it up.
    """
    return serial % 499_999_999 + 1


def born_ns(birth: int, mark: int) -> int:
    """Return the modification time of info/N, in nanoseconds."""
    return birth * 1_000_000_000 + mark


def is_born(mtime_ns: int, birth: int, mark: int) -> bool:
    """Return whether an info file with this modification time is that of the message.

    A file system may not store nanoseconds.
    """
    return mtime_ns in (born_ns(birth, mark), born_ns(birth, 0))


def delivery_name(birth: int, mark: int, number: int, offset: int) -> bytes:
    """Return the name of a delivery, the same at every attempt.

    It is for the recipient at `offset` of its channel's list.

    b"" without a mark, which is what file systems without nanoseconds leave.
    """
    return b"%d.M%dQ%dR%d" % (birth, mark, number, offset) if mark else b""
