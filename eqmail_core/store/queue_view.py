"""Looking at a queue from outside, while it is in use: what waits, and how much.

Messages that are only in memory and in the journal have no files; who may ask the scheduler sees them in its books.

Source: queue.md 3.3, 3.4.
"""

import os

from eqmail_core.formats.channel_list import DONE, TODO, records
from eqmail_core.formats.info import parse_info
from eqmail_core.formats.queue_listing import Waiting, message_line, recipient_line
from eqmail_core.store.queue_scan import numbers_in
from eqmail_core.system.files import CHUNK, read_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from eqmail_core.system.desk_client import Books
    from eqmail_core.values.layout import QueuePaths

CHANNELS = ("local", "remote")


def look_at(queue: "QueuePaths", number: int) -> Waiting | None:
    """What is known about one message; None where it has left the queue.

    Fails: OSError.
    """
    try:
        fd = os.open(queue.info(number), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        birth = os.fstat(fd).st_mtime
        sender = parse_info(read_all(fd)) or b""
    finally:
        os.close(fd)
    size = os.stat(queue.mess(number)).st_size
    return Waiting(number, birth, size, sender, os.path.exists(queue.bounce(number)))


def recipients(queue: "QueuePaths", number: int) -> "Iterator[tuple[str, bool, bytes]]":
    """Channel, whether it is done, and address of each recipient, in the order of the files.

    Fails: OSError.
    """
    for channel in CHANNELS:
        try:
            file = open(queue.channel(channel, number), "rb", buffering=0)  # noqa: SIM115
        except FileNotFoundError:
            continue
        with file:
            for _, mark, address in records(iter(lambda: file.read(CHUNK), b"")):  # noqa: B023
                if mark in (TODO, DONE):
                    yield channel, mark == DONE, address


def lines_from_memory(books: "Books | None", seen: set[int]) -> "Iterator[bytes]":
    """What qmail-qread prints about each message that is only in memory; `seen` are those on the disk."""
    for number, it in books.memory.items() if books is not None else ():
        if number not in seen:
            lines = [message_line(Waiting(number, it.birth, it.size, it.sender, it.bounces))]
            yield b"".join(lines + [recipient_line(*recipient) for recipient in it.recipients])


def count_all(queue: "QueuePaths", books: "Books | None") -> int:
    """How many messages there are, on the disk and only in memory.

    Fails: OSError.
    """
    on_disk = count(queue.mess_dirs())
    if books is None:
        return on_disk
    return on_disk + sum(not os.path.exists(queue.mess(number)) for number in books.memory)


def count(folders: list[str]) -> int:
    """How many messages have a file in these folders.

    Fails: OSError.
    """
    return sum(1 for _ in numbers_in(folders))
