"""The line that the queue puts before every message: who brought it.

Source: queue.md 3.5; qmail-queue(8).
"""


def invoker_name(uid: int, alias: int, daemon: int, scheduler: int) -> bytes:
    """How a message came, by the uid that brought it; alias is asked first, as C does."""
    if uid == alias:
        return b"by alias"
    if uid == daemon:
        return b"from network"
    if uid == scheduler:
        return b"for bounce"
    return b"by uid %d" % uid


def invoked_line(pid: int, invoked_by: bytes, date: bytes) -> bytes:
    """The Received line with its newline; `date` as in RFC 5322."""
    return b"Received: (qmail %d invoked %b); %b\n" % (pid, invoked_by, date)
