"""Every message of a queue, one after the other: from the files, and from what the scheduler says it has in memory.

Fails: OSError where a folder cannot be read; a message that cannot be read, or has left meanwhile, is passed over.
Source: queue.md 3.3, 3.4.
"""

import os
from collections.abc import Iterator
from itertools import chain

from eqmail_core.formats.channel_list import DONE, TODO, records
from eqmail_core.formats.info import parse_info
from eqmail_core.formats.todo import BadTodo, parse_todo
from eqmail_core.policy.schedule import CHANNELS, HELD_UNTIL
from eqmail_core.store.queue_scan import numbers_in
from eqmail_core.system.desk_client import Books
from eqmail_core.system.files import CHUNK, read_file
from eqmail_core.values.layout import QueuePaths


class Entry:
    """One message: recipients are channel ("" before preprocessing), whether done, and address; `due` by channel.

    `state` is a word of `policy.queue_filter.STATES`; `stamp` is empty where nothing can be done to the message.
    """

    __slots__ = ("birth", "bounces", "due", "number", "recipients", "sender", "size", "stamp", "state")

    def __init__(self, number: int, stamp: bytes, birth: float, size: int, sender: bytes, state: str) -> None:
        self.number = number
        self.stamp = stamp
        self.birth = birth
        self.size = size
        self.sender = sender
        self.state = state
        self.bounces = False
        self.due: dict[str, int] = {}
        self.recipients: list[tuple[str, bool, bytes]] = []


def entries(queue: QueuePaths, books: Books | None, only: list[int] | None = None) -> Iterator[Entry]:
    """All messages, or those of `only`; `books` are the scheduler's, None where none runs.

    First preprocessed messages in the order of their folders, then new ones, then those in memory.
    """
    in_memory = dict(books.memory) if books is not None else {}
    new = set(numbers_in(queue.todo_dirs()))
    bounces = set(numbers_in([queue.bounces]))
    if only is not None:
        new &= set(only)
    for number in only if only is not None else numbers_in(queue.info_dirs()):
        if number not in new:
            entry = _on_disk(queue, number, books, number in bounces)
            if entry is not None:
                in_memory.pop(number, None)
                yield entry
    for number in sorted(new):
        entry = _unprocessed(queue, number)
        if entry is not None:
            in_memory.pop(number, None)
            yield entry
    for number, it in in_memory.items():
        if only is None or number in only:
            entry = Entry(number, b"m%d" % it.serial, it.birth, it.size, it.sender, "memory")
            entry.recipients = it.recipients
            entry.bounces = it.bounces
            yield entry


def _on_disk(queue: QueuePaths, number: int, books: Books | None, bounces: bool) -> Entry | None:
    try:
        fd = os.open(queue.info(number), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            info = os.fstat(fd)
            sender = parse_info(os.read(fd, CHUNK)) or b""
        finally:
            os.close(fd)
        entry = Entry(number, b"%d" % info.st_ctime_ns, info.st_mtime, os.stat(queue.mess(number)).st_size, sender, "")
        for channel in CHANNELS:
            _read_list(queue, entry, channel)
    except OSError:
        return None
    entry.bounces = bounces
    if books is not None:
        for channel in entry.due:
            entry.due[channel] = books.due[channel].get(number, entry.due[channel])
    if books is not None and number in books.running:
        entry.state = "running"
    elif not entry.due:
        entry.state = "finished"
    else:
        entry.state = "held" if min(entry.due.values()) >= HELD_UNTIL else "waiting"
    return entry


def _read_list(queue: QueuePaths, entry: Entry, channel: str) -> None:
    try:
        fd = os.open(queue.channel(channel, entry.number), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        entry.due[channel] = int(os.fstat(fd).st_mtime)
        head = os.read(fd, CHUNK)
        rest = iter(lambda: os.read(fd, CHUNK), b"") if len(head) == CHUNK else ()
        for _, mark, address in records(chain((head,), rest)):
            if mark in (TODO, DONE):
                entry.recipients.append((channel, mark == DONE, address))
    finally:
        os.close(fd)


def _unprocessed(queue: QueuePaths, number: int) -> Entry | None:
    try:
        text = read_file(queue.todo(number))
        mess = os.stat(queue.mess(number))
        todo = parse_todo(text) if text is not None else None
    except (OSError, BadTodo):
        return None
    if todo is None:
        return None
    entry = Entry(number, b"", mess.st_mtime, mess.st_size, todo.sender, "new")
    entry.recipients = [("", False, recipient) for recipient in todo.recipients]
    return entry
