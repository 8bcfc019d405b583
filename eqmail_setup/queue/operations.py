"""What the commands of `eqmail queue` do: choose messages, and change or move those that were chosen.

Fails: QueueInUse, OSError, CannotSettle as `store.queue_control`.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from eqmail_core.queue.admin.control import (
    BOUNCE,
    BUSY,
    CHANGED,
    DELETE,
    DONE,
    GONE,
    HOLD,
    MOVE,
    NEW,
    RELEASE,
    RETRY,
    QueueControl,
)
from eqmail_core.queue.admin.copy import copy_message
from eqmail_core.queue.admin.filter import SHARED, MessageFilter
from eqmail_core.queue.admin.messages import QueuedMessage, each_message
from eqmail_core.queue.admin.scheduler_client import SchedulerState
from eqmail_core.queue.admin.shared import SharedQueue, open_shared_queue
from eqmail_core.queue.format.channels import HELD_UNTIL
from eqmail_core.site.layout import QueuePaths
from eqmail_core.site.site import Site

VERBS = {"retry": RETRY, "hold": HOLD, "release": RELEASE, "delete": DELETE, "bounce": BOUNCE}

T = TypeVar("T")

# How often a message is looked at again that has just moved between memory and disk.
_LOOKS = 5
_PAUSE_S = 0.2

_SENTENCES = {
    BUSY: "as soon as the running deliveries have ended",
    GONE: "has left the queue",
    CHANGED: "changes too fast, try again",
    NEW: "is not preprocessed yet, try again in a moment",
}


class Selection(NamedTuple):
    """The messages that are meant: those of `numbers` (None: all) that match."""

    where: MessageFilter
    numbers: list[int] | None

    def select(
        self, site: Site, books: SchedulerState | None, view: Callable[[QueuedMessage], T | None]
    ) -> Iterator[T]:
        """What `view` makes of each of them but None; `books` are the scheduler's, None where none runs."""
        now, matches = time.time(), self.where.matches
        yield from each_message(
            site.queue, books, lambda item: view(item) if matches(item, now) else None, self.numbers
        )
        shared = open_shared_queue(site)
        if shared is not None:
            in_memory = books.memory if books is not None else {}
            for message in shared.messages(self.numbers):
                if message.number not in in_memory and matches(message, now):
                    seen = view(message)
                    if seen is not None:
                        yield seen
            shared.close()


class Outcome(NamedTuple):
    """The result for one message; `text` is empty if there is nothing to report."""

    number: int
    is_done: bool
    text: str


def outcome_of(number: int, result: bytes) -> Outcome:
    """A result in words."""
    text = _SENTENCES.get(result, "" if result == DONE else result.decode("utf-8", "replace"))
    return Outcome(number, result in (DONE, BUSY), text)


def change(site: Site, control: QueueControl, verb: bytes, option: Selection) -> Iterator[Outcome]:
    """Change every message that is meant; one that moved meanwhile is looked at again."""

    def target(message: QueuedMessage) -> tuple[int, bytes] | None:
        return (message.number, message.stamp) if _is_applicable(verb, message) else None

    again: list[int] = []
    for look in range(_LOOKS):
        targets = option.select(site, control.scheduler_state(), target)
        again = []
        for number, result in _change(site, control, verb, targets):
            if result == CHANGED and look < _LOOKS - 1:
                again.append(number)
            else:
                yield outcome_of(number, result)
        if not again:
            return
        option = option._replace(numbers=again)
        time.sleep(_PAUSE_S)


def _change(
    site: Site, control: QueueControl, verb: bytes, targets: Iterator[tuple[int, bytes]]
) -> Iterator[tuple[int, bytes]]:
    """Change messages of the directory and in memory, then those of a shared queue."""
    in_database: list[int] = []

    def elsewhere() -> Iterator[tuple[int, bytes]]:
        for number, stamp in targets:
            if stamp == SHARED:
                in_database.append(number)
            else:
                yield number, stamp

    yield from control.change(verb, elsewhere())
    shared = open_shared_queue(site) if in_database else None
    if shared is not None:
        yield from shared.change(verb, in_database)
        shared.close()


def _is_applicable(verb: bytes, message: QueuedMessage) -> bool:
    """Whether a verb means anything to a message: held ones are released, others held or tried."""
    if not message.stamp:
        return False
    if verb in (RETRY, HOLD):
        return message.state != "held"
    return verb != RELEASE or message.state == "held"


def move(site: Site, control: QueueControl, target: QueuePaths, option: Selection) -> Iterator[Outcome]:
    """Move every message on the disk that is meant into another queue; it is held while it is copied.

    A message in memory is written to the disk first.  When cut off before the removal it is in both queues, held here.
    """
    for message in option.select(site, control.scheduler_state(), QueuedMessage.whole):
        if message.stamp == SHARED:
            yield Outcome(message.number, False, "is in the database that nodes share; let them deliver it")
            continue
        if not message.stamp:
            yield outcome_of(message.number, NEW)
            continue
        result = _one(control, HOLD, message.number, message.stamp)
        if result == DONE and message.state == "memory":
            message = next(each_message(site.queue, None, QueuedMessage.whole, [message.number]), message)
        if result != DONE:
            if result == BUSY:
                _one(control, RELEASE, message.number, message.stamp)
                yield Outcome(message.number, False, "a delivery of it runs, try again later")
            else:
                yield outcome_of(message.number, result)
            continue
        was_files = message.state == "held"
        now = int(time.time())
        due = {
            name: HELD_UNTIL if was_files else (time if time < HELD_UNTIL else now)
            for name, time in message.due.items()
        }
        try:
            new = copy_message(site.queue, message.number, target, due)
        except OSError as error:
            if not was_files:
                _one(control, RELEASE, message.number, message.stamp)
            yield Outcome(message.number, False, f"{error.filename or target.root}: {error.strerror}")
            continue
        result = _one(control, MOVE, message.number, message.stamp)
        done = result == DONE
        left = "" if done else f", but it is still here, held: {outcome_of(message.number, result).text}"
        yield Outcome(message.number, done, f"is #{new} there{left}")


def _one(control: QueueControl, verb: bytes, number: int, stamp: bytes) -> bytes:
    results = [result for _, result in control.change(verb, [(number, stamp)])]
    return results[0] if results else GONE


def header_of(queue: QueuePaths, number: int, at_most: int = 1 << 20) -> bytes:
    """The header of a message on the disk; nothing where it cannot be read."""
    try:
        fd = os.open(queue.mess(number), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        text = os.read(fd, at_most)
    finally:
        os.close(fd)
    return header_in(text)


def header_in(text: bytes) -> bytes:
    """The header of a text that begins with it."""
    end = text.find(b"\n\n")
    return text if end < 0 else text[: end + 1]


@contextmanager
def shared_queue(site: Site) -> Iterator[SharedQueue | None]:
    """The queue that nodes share, None where there is none; its connection ends here."""
    shared = open_shared_queue(site)
    try:
        yield shared
    finally:
        if shared is not None:
            shared.close()
