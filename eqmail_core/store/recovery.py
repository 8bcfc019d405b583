"""What an earlier life of the queue service left: every record without a tombstone is a message again.

For each: was it queued as files (mess/N and todo/N are as the record says)?  Then the journal may forget it.  Is mess/N
there?  Then the scheduler may have placed it, and is asked by admitting it again.  Is its number still reserved?  Then
it goes on as if nothing had happened.  Otherwise it gets a new number, recorded before anything else.

What is relied on is flushed first, for a process may have died between writing and flushing.  Running it twice, or half
and then again, does the same.

Fails: OSError where something cannot be read or flushed; then nothing was forgotten.
"""

import os
from zlib import crc32

from eqmail_core.store.disk import Disk
from eqmail_core.store.journal import Journal
from eqmail_core.store.keeper import Keeper
from eqmail_core.store.message import Message
from eqmail_core.store.pool import Pool
from eqmail_core.values.layout import QueuePaths

_CHUNK = 1 << 20


class Found:
    """How many messages came back, by the way they did; `lost` are the numbers of those whose file is gone."""

    def __init__(self) -> None:
        self.held = self.queued = self.renumbered = 0
        self.lost: list[int] = []


def recover(disk: Disk, paths: QueuePaths, pool: Pool, journal: Journal, keeper: Keeper, least_serial: int) -> Found:
    """Bring the messages of the journal back into `keeper`; the pool and the journal are ready for use afterwards."""
    found = Found()
    messages = journal.replay(least_serial)
    pool.find()
    _drop_second_names(disk, paths, pool)
    pool.reserve({message.number for message in messages})
    homeless = []
    for message in messages:
        if _is_body(disk, message, paths.mess(message.number)):
            _settle(disk, paths, message, keeper, found)
        elif _has_file(disk, pool, message):
            keeper.recovered(message, is_named=False)
            found.held += 1
        elif message.body is not None:
            homeless.append(message)
        else:
            found.lost.append(message.number)
            keeper.settled(message)
    for message in homeless:
        message.number = pool.take()
        keeper.renumbered(message)
        found.renumbered += 1
    return found


def _settle(disk: Disk, paths: QueuePaths, message: Message, keeper: Keeper, found: Found) -> None:
    """A message whose mess/N is there."""
    number = message.number
    _flush(disk, paths.mess(number))
    if disk.content(paths.todo(number)) == message.as_todo():
        _flush(disk, paths.todo(number))
        keeper.settled(message)
        found.queued += 1
        return
    if disk.status(paths.intd(number)) is not None:
        # from a spill that was cut short; nobody would look for it when mess/N has gone
        disk.unlink(paths.intd(number))
        disk.sync_folder(paths.intd(number).rpartition("/")[0])
    if message.body is not None:
        message.crc = crc32(message.body)
    keeper.recovered(message, is_named=True)
    found.held += 1


def _has_file(disk: Disk, pool: Pool, message: Message) -> bool:
    path = pool.path(message.number)
    return path is not None and (message.body is not None or _is_body(disk, message, path))


def _drop_second_names(disk: Disk, paths: QueuePaths, pool: Pool) -> None:
    """Files of the pool that have become mess/N keep that name alone."""
    for number in pool.numbers:
        known = disk.status(paths.mess(number))
        if known is not None and known[0] == number:
            disk.sync_folder(paths.mess(number).rpartition("/")[0])
            disk.unlink(pool.path(number) or "")
            pool.forget(number)


def _is_body(disk: Disk, message: Message, path: str) -> bool:
    """Tell whether the file at `path` is that of the message's number and holds its body."""
    if disk.status(path) != (message.number, message.size):
        return False
    if message.body is not None:
        return disk.content(path) == message.body
    fd, crc, offset = disk.open(path, os.O_RDONLY), 0, 0
    try:
        while piece := disk.read_at(fd, _CHUNK, offset):
            crc, offset = crc32(piece, crc), offset + len(piece)
    finally:
        disk.close(fd)
    return crc == message.crc


def _flush(disk: Disk, path: str) -> None:
    fd = disk.open(path, os.O_RDWR)
    try:
        disk.sync(fd)
    finally:
        disk.close(fd)
    disk.sync_folder(path.rpartition("/")[0])
