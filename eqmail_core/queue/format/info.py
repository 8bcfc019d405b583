"""The file info/N: the envelope sender of a message; its modification time is the message's birth.

The DSN parameters of a message, if any, are a second record, which C ignores. The nanoseconds of the time are the
message's mark, which C ignores too (`mail.message_identity`).

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
