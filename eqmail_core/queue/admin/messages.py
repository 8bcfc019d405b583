"""Lists the messages of a queue, from the files and from the scheduler's memory.

Only requested facts are read, one message at a time, because a queue may be large.
Long because a message and the readers of its files belong together.

Fails: OSError where a folder cannot be read.
Source: queue.md 3.3, 3.4.
"""

import os
from itertools import chain

from eqmail_core.dsn.submitter import facts_of
from eqmail_core.queue.format.channels import CHANNELS, HELD_UNTIL
from eqmail_core.queue.format.info import dsn_in_info, parse_info
from eqmail_core.queue.format.recipient_list import MARK_DONE, MARK_TODO, records
from eqmail_core.queue.format.todo import BadTodo, parse_todo
from eqmail_core.queue.scan import QueuePartition, numbers_in
from eqmail_core.system.files import CHUNK, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from eqmail_core.ipc.scheduler_control_protocol import MemoryMessageRecord
    from eqmail_core.queue.admin.scheduler_client import SchedulerState
    from eqmail_core.queue.format.attempts import FailedAttempts
    from eqmail_core.site.layout import QueuePaths

    T = TypeVar("T")
    Attempts = dict[tuple[int, int], FailedAttempts]
    Recipients = list[tuple[str, bool, bytes]]

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
# Nearly every file is shorter; a larger buffer would cost more than the rest of the reading.
_FIRST = 2048


class QueuedMessage:
    """One message of a queue.

    Recipients are channel ("" before preprocessing), whether done, and address; `offsets` are their places in the list
    of their channel; `due` is by channel.
    `node`: the one that delivers a message of a shared queue. `attempts`: the failed ones of its recipients, by channel
    and offset; those of other messages are in lock/attempts.
    `facts` are about its submission, by letter, as in dsn/submitter.py.
    `state` is a word of `filter.STATES`; `stamp` is empty where the message cannot be changed.
    Facts from files are read on first access; that fails with OSError.
    """

    __slots__ = (
        "_files",
        "attempts",
        "birth",
        "bounces",
        "due",
        "facts",
        "node",
        "number",
        "offsets",
        "recipients",
        "sender",
        "size",
        "stamp",
        "state",
    )

    birth: float
    bounces: bool
    due: dict[str, int]
    facts: dict[bytes, bytes]
    number: int
    offsets: list[int]
    recipients: "Recipients"
    sender: bytes
    size: int
    stamp: bytes
    state: str

    def __init__(self, number: int, files: "PartitionReader | None" = None) -> None:
        self.number = number
        self._files = files
        self.node = ""
        self.attempts: Attempts = {}

    def __getattr__(self, name: str) -> object:
        """Read a fact that was not read yet."""
        reader = _READERS.get(name)
        if reader is None or self._files is None:
            raise AttributeError(name)
        reader(self._files, self)
        return getattr(self, name)

    def whole(self) -> "QueuedMessage":
        """Return the message with everything read."""
        if self._files is not None:
            self._files.read_all(self)
        return self


def each_message(
    queue: "QueuePaths",
    state: "SchedulerState | None",
    view: "Callable[[QueuedMessage], T | None]",
    only: list[int] | None = None,
    on_problem: "Callable[[int, OSError], None]" = lambda number, error: None,
) -> "Iterator[T]":
    """Yield `view` of every message, or of those in `only`, except None.

    `state`: the scheduler's, if it runs.

    Messages on the disk come part by part, then those in memory.  A message that is removed meanwhile is skipped. So
    is one that cannot be read, after a call of `on_problem`.
    """
    in_memory = dict(state.memory) if state is not None else {}
    wanted = None if only is None else set(only)
    indices = range(queue.split) if wanted is None else sorted({number % queue.split for number in wanted})
    bounces = set(numbers_in([queue.bounces]))
    for index in indices:
        files = PartitionReader(QueuePartition(queue, index), queue, state, bounces)
        try:
            for number in files.numbers(wanted):
                entry = files.message(number)
                try:
                    seen = view(entry)
                except OSError as error:
                    if os.path.exists(queue.info(number)):
                        on_problem(number, error)
                    continue
                in_memory.pop(number, None)
                if seen is not None:
                    yield seen
        finally:
            files.part.close()
    for number, message in in_memory.items():
        if wanted is None or number in wanted:
            seen = view(_from_memory(message))
            if seen is not None:
                yield seen


class PartitionReader:
    """The messages of one part of the queue, and the functions that read facts about them."""

    def __init__(
        self, part: QueuePartition, queue: "QueuePaths", state: "SchedulerState | None", bounces: set[int]
    ) -> None:
        self.part = part
        self._bounces = bounces
        self._queue = queue
        self._state = state
        self._lists = list(zip(CHANNELS, part.lists, part.listed, strict=True))

    def numbers(self, wanted: set[int] | None) -> list[int]:
        """Return all messages, or the wanted ones, in the order of their likely disk location."""
        found = self.part.old | self.part.new
        return sorted(found if wanted is None else found & wanted)

    def message(self, number: int) -> QueuedMessage:
        """Return a message; of a preprocessed one nothing is read yet."""
        entry = _unprocessed(self._queue, number) if number in self.part.new else None
        return entry or QueuedMessage(number, self)

    def read_all(self, entry: QueuedMessage) -> None:
        """Read everything."""
        self.read_sender(entry)
        self.read_size(entry)
        self.read_bounces(entry)
        self.read_lists(entry)

    def read_info(self, entry: QueuedMessage) -> None:
        """Read birth and stamp."""
        _date(entry, os.stat(str(entry.number), dir_fd=self.part.info))

    def read_sender(self, entry: QueuedMessage) -> None:
        """Read the sender, and with it birth and stamp."""
        fd = os.open(str(entry.number), _READ, dir_fd=self.part.info)
        try:
            _date(entry, os.fstat(fd))
            text = os.read(fd, _FIRST)
            if len(text) == _FIRST:
                text += os.read(fd, CHUNK)
        finally:
            os.close(fd)
        entry.sender = parse_info(text) or b""
        entry.facts = facts_of(dsn_in_info(text))

    def read_size(self, entry: QueuedMessage) -> None:
        """Read the size of the message."""
        entry.size = os.stat(str(entry.number), dir_fd=self.part.mess).st_size

    def read_bounces(self, entry: QueuedMessage) -> None:
        """Read whether a bounce about failures is noted."""
        entry.bounces = entry.number in self._bounces

    def read_lists(self, entry: QueuedMessage) -> None:
        """Read recipients and due times, which give the state."""
        number, state = entry.number, self._state
        due: dict[str, int] = {}
        recipients: Recipients = []
        offsets: list[int] = []
        for channel, folder, listed in self._lists:
            # A list created after the listing belongs to a message that was new then.
            if number in listed or number in self.part.new:
                time = _read_list(folder, number, channel, recipients, offsets)
                if time is not None:
                    due[channel] = time if state is None else state.due[channel].get(number, time)
        entry.due = due
        entry.recipients = recipients
        entry.offsets = offsets
        if state is not None and number in state.running:
            entry.state = "running"
        elif not due:
            entry.state = "finished"
        else:
            entry.state = "held" if min(due.values()) >= HELD_UNTIL else "waiting"


_READERS: "dict[str, Callable[[PartitionReader, QueuedMessage], None]]" = {
    "birth": PartitionReader.read_info,
    "stamp": PartitionReader.read_info,
    "facts": PartitionReader.read_sender,
    "sender": PartitionReader.read_sender,
    "size": PartitionReader.read_size,
    "bounces": PartitionReader.read_bounces,
    "due": PartitionReader.read_lists,
    "offsets": PartitionReader.read_lists,
    "recipients": PartitionReader.read_lists,
    "state": PartitionReader.read_lists,
}


def _date(entry: QueuedMessage, info: os.stat_result) -> None:
    entry.birth = info.st_mtime
    entry.stamp = b"%d" % info.st_ctime_ns


def _read_list(folder: int, number: int, channel: str, recipients: "Recipients", offsets: list[int]) -> int | None:
    """Append the recipients of a list and their offsets; return its time, or None if it is finished."""
    try:
        fd = os.open(str(number), _READ, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        time = int(os.fstat(fd).st_mtime)
        head = os.read(fd, _FIRST)
        pieces = (head,) if len(head) < _FIRST else chain((head,), iter(lambda: os.read(fd, CHUNK), b""))
        for offset, mark, address in records(pieces):
            if mark in (MARK_TODO, MARK_DONE):
                offsets.append(offset)
                recipients.append((channel, mark == MARK_DONE, address))
    finally:
        os.close(fd)
    return time


def _unprocessed(queue: "QueuePaths", number: int) -> QueuedMessage | None:
    try:
        text = read_file(queue.todo(number))
        mess = os.stat(queue.mess(number))
        todo = parse_todo(text) if text is not None else None
    except (OSError, BadTodo):
        return None
    if todo is None:
        return None
    recipients: Recipients = [("", False, recipient) for recipient in todo.envelope.recipients]
    facts = facts_of(todo.envelope.dsn)
    return message_of(number, b"", mess.st_mtime, mess.st_size, todo.envelope.sender, "new", recipients, False, facts)


def _from_memory(message: "MemoryMessageRecord") -> QueuedMessage:
    return message_of(
        message.number,
        b"m%d" % message.serial,
        message.birth,
        message.size,
        message.sender,
        "memory",
        message.recipients,
        message.bounces,
    )


def _offsets_of(recipients: "Recipients") -> list[int]:
    """Return the offsets that recipients have, or will have, in the lists of their channels."""
    ends = dict.fromkeys(("", *CHANNELS), 0)
    offsets = []
    for channel, _, address in recipients:
        offsets.append(ends[channel])
        ends[channel] += len(address) + 2
    return offsets


def message_of(
    number: int,
    stamp: bytes,
    birth: float,
    size: int,
    sender: bytes,
    state: str,
    recipients: "Recipients",
    bounces: bool,
    facts: dict[bytes, bytes] | None = None,
) -> QueuedMessage:
    """Return a message of which everything is known."""
    entry = QueuedMessage(number)
    entry.stamp = stamp
    entry.birth = birth
    entry.size = size
    entry.sender = sender
    entry.state = state
    entry.recipients = recipients
    entry.offsets = _offsets_of(recipients)
    entry.bounces = bounces
    entry.facts = facts or {}
    entry.due = {}
    return entry
