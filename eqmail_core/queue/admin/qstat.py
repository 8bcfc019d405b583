"""The actions of qmail-qstat: each yields the text to print.

The text comes in pieces, so that messages may be of any size.
Source: programs.md 1.1 (qmail-qstat of eQmail after 1.09).
"""

import os

from eqmail_core.queue.admin.messages import QueuedMessage, each_message
from eqmail_core.queue.admin.repair import remove_message
from eqmail_core.queue.format.channels import CHANNELS
from eqmail_core.queue.format.listing import recipient_line
from eqmail_core.queue.lock import lock_scheduling
from eqmail_core.queue.scan import count, numbers_in
from eqmail_core.system.files import CHUNK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eqmail_core.queue.admin.scheduler_client import SchedulerState
    from eqmail_core.site.layout import QueuePaths

OPTIONS = b"hliLRm:D:d"

HELP = b"""Usage: qmail-qstat [option [value]]

  -h\t\tshow this help
  -D <id>\tdelete message 'id' from the queue
  -d\t\tdelete all messages from the queue
  -i\t\tlist the ids of all messages in the queue
  -l\t\tlist all messages in the queue
  -L\t\tlist and count messages with local recipients
  -m <id>\tshow message 'id'
  -R\t\tlist and count messages with remote recipients

Nothing is deleted while qmail-send is running.
"""

_COUNTED = "{:>32}: {}\n"


class NoSuchMessage(Exception):
    """The queue has no message with this number."""


def count_all(queue: "QueuePaths", state: "SchedulerState | None") -> int:
    """Count the messages, on the disk and, if the scheduler reports them, only in memory.

    Fails: OSError.
    """
    in_memory = state.memory if state is not None else ()
    return count(queue.mess_dirs()) + sum(not os.path.exists(queue.mess(number)) for number in in_memory)


def _help(queue: "QueuePaths", value: bytes) -> "Iterator[bytes]":
    yield HELP


def _ids(queue: "QueuePaths", value: bytes) -> "Iterator[bytes]":
    yield b"ID's of messages in queue:\n"
    for number in numbers_in(queue.mess_dirs()):
        yield b"%d\n" % number


def _messages(queue: "QueuePaths", value: bytes) -> "Iterator[bytes]":
    for number in numbers_in(queue.mess_dirs()):
        try:
            yield from _content(queue, number)
        except NoSuchMessage:
            continue
    yield from _summary(queue)


def _message(queue: "QueuePaths", value: bytes) -> "Iterator[bytes]":
    yield from _content(queue, _number(value))
    yield b"\n"


def _of_channel(channel: str) -> "Callable[[QueuePaths, bytes], Iterator[bytes]]":
    def view(message: QueuedMessage) -> bytes | None:
        if channel not in message.due:
            return None
        lines = [recipient_line(*found) for found in message.recipients if found[0] == channel]
        return b"\nMessage-Id: %d\n" % message.number + b"".join(lines)

    def listed(queue: "QueuePaths", value: bytes) -> "Iterator[bytes]":
        yield from each_message(queue, None, view)
        yield b"\n" + _count_of_channel(queue, channel) + b"\n"

    return listed


def _delete(queue: "QueuePaths", value: bytes) -> "Iterator[bytes]":
    number = _number(value)
    lock = lock_scheduling(queue)
    try:
        if not remove_message(queue, number):
            raise NoSuchMessage
    finally:
        os.close(lock)
    yield b"deleting message %d ... done\n" % number


def _delete_all(queue: "QueuePaths", value: bytes) -> "Iterator[bytes]":
    lock = lock_scheduling(queue)
    try:
        for number in sorted({*numbers_in(queue.mess_dirs()), *numbers_in(queue.info_dirs())}):
            remove_message(queue, number)
            yield b"deleting message %d ... done\n" % number
    finally:
        os.close(lock)


ACTIONS: "dict[bytes, Callable[[QueuePaths, bytes], Iterator[bytes]]]" = {
    b"h": _help,
    b"i": _ids,
    b"l": _messages,
    b"m": _message,
    b"L": _of_channel("local"),
    b"R": _of_channel("remote"),
    b"D": _delete,
    b"d": _delete_all,
}


def _content(queue: "QueuePaths", number: int) -> "Iterator[bytes]":
    try:
        file = open(queue.mess(number), "rb", buffering=0)  # noqa: SIM115
    except FileNotFoundError as error:
        raise NoSuchMessage from error
    with file:
        yield b"\nMessage-Id: %d\n" % number
        while chunk := file.read(CHUNK):
            yield chunk


def _summary(queue: "QueuePaths") -> "Iterator[bytes]":
    yield b"\nSummary:\n"
    yield _counted("total messages in queue", count(queue.mess_dirs()))
    for channel in CHANNELS:
        yield _count_of_channel(queue, channel)
    yield _counted("messages not pre-processed yet", count(queue.todo_dirs()))
    yield _counted("messages with bounces", count([queue.bounces]))
    yield b"\nDirectory split of the queue is %d.\n\n" % queue.split


def _count_of_channel(queue: "QueuePaths", channel: str) -> bytes:
    return _counted(f"messages with {channel} recipients", count(queue.channel_dirs(channel)))


def _counted(what: str, number: int) -> bytes:
    return _COUNTED.format(what, number).encode()


def _number(value: bytes) -> int:
    if not value.isdigit():
        raise NoSuchMessage
    return int(value)
