"""The file info/N: who sent a message; its modification time is the message's birth.

Source: queue.md 3.3.
"""


def render_info(sender: bytes) -> bytes:
    """The one record of an info file."""
    return b"F%b\0" % sender


def parse_info(text: bytes) -> bytes | None:
    """The sender; None where the text is no complete record, as an interrupted writer leaves it."""
    record, end, _ = text.partition(b"\0")
    return record[1:] if end and record[:1] == b"F" else None
