"""The file info/N: who sent a message; its modification time is the message's birth.

The wishes of a message, if it has any, are a second record, which C does not look at.

Source: queue.md 3.3.
"""


def render_info(sender: bytes, wishes: bytes = b"") -> bytes:
    """An info file; `wishes` as in `formats.wishes`."""
    return b"F%b\0%b\0" % (sender, wishes) if wishes else b"F%b\0" % sender


def parse_info(text: bytes) -> bytes | None:
    """The sender; None where the text is no complete record, as an interrupted writer leaves it."""
    record, end, _ = text.partition(b"\0")
    return record[1:] if end and record[:1] == b"F" else None


def wishes_in_info(text: bytes) -> bytes:
    """The wishes, b"" where there are none."""
    wishes, end, _ = text.partition(b"\0")[2].partition(b"\0")
    return wishes if end else b""
