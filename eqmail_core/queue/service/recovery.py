"""Recovers messages of the journal at the start of the queue service.

Every record without a tombstone becomes a message again.

For each message, the first that holds:
- mess/N and todo/N are as the record says: it is queued as files, and the journal may drop it.
- mess/N exists: the scheduler may have spilled it, and is asked by admitting it again.
- Its number is still reserved: it continues as if nothing had happened.
- Otherwise it gets a new number, recorded before anything else.

A queue that was copied or restored has other inode numbers. So mess/N is recognised by its content, and a body in pid/,
which is identified by the number of its file, is searched for among all of them.

Everything relied on is flushed first, because a process may have died between writing and flushing. Running it twice,
or in part and then again, gives the same result.

Fails: OSError where something cannot be read or flushed; then nothing is lost.
"""

import os
from zlib import crc32

from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.format.journal_damage import Damaged
from eqmail_core.queue.service.accepted_message import AcceptedMessage
from eqmail_core.queue.service.journal import Journal
from eqmail_core.queue.service.message_store import MessageStore
from eqmail_core.queue.service.number_pool import NumberPool
from eqmail_core.site.layout import QueuePaths

_CHUNK = 1 << 20


class RecoveryResult:
    """Counts of the recovered messages by kind; `lost`: numbers of those whose file is gone.

    `damaged`: what of the journal could not be read.

    `misnumbered`: messages in the queue's files whose number is not the inode number of mess/N.
    """

    def __init__(self) -> None:
        self.live = self.queued = self.renumbered = self.misnumbered = 0
        self.lost: list[int] = []
        self.damaged: list[Damaged] = []


def recover(
    disk: FileSystem, paths: QueuePaths, pool: NumberPool, journal: Journal, store: MessageStore, least_serial: int
) -> RecoveryResult:
    """Load the messages of the journal into `store`.

    The pool and the journal are ready for use afterwards.
    """
    found = RecoveryResult()
    messages = journal.replay(least_serial)
    found.damaged = journal.damaged
    pool.find()
    _drop_second_names(disk, paths, pool)
    pool.block()
    found.misnumbered = _misnumbered(disk, paths)
    rest = []
    for message in messages:
        if _is_body(disk, message, paths.mess(message.number)):
            _finish_message(disk, paths, message, store, found)
        else:
            rest.append(message)
    bodies = _bodies_in_files(disk, pool, rest)
    needed = set(bodies.values())
    homeless = []
    for message in rest:
        path = pool.path(message.number)
        if message.body is None and message.serial not in bodies:
            found.lost.append(message.number)
            store.mark_named(message)
        elif path is not None and (
            path == bodies.get(message.serial) or (message.body is not None and path not in needed)
        ):
            store.recovered(message, is_named=False)
            found.live += 1
        else:
            homeless.append(message)
    pool.reserve(
        {message.number for message in messages} | {number for number in pool.numbers if pool.path(number) in needed}
    )
    for message in homeless:
        message.number = pool.take()
        if message.body is None:
            _copy(disk, bodies[message.serial], pool.path(message.number) or "")
        store.renumbered(message)
        found.renumbered += 1
    return found


def _bodies_in_files(disk: FileSystem, pool: NumberPool, messages: list[AcceptedMessage]) -> dict[int, str]:
    """Map each serial to the file in pid/ with the message's body: the file of its number, or another."""
    bodies: dict[int, str] = {}
    for message in messages:
        if message.body is None:
            own = pool.path(message.number)
            for path in [own, *pool.files] if own is not None else pool.files:
                if path not in bodies.values() and _is_body(disk, message, path):
                    bodies[message.serial] = path
                    break
    return bodies


def _finish_message(
    disk: FileSystem, paths: QueuePaths, message: AcceptedMessage, store: MessageStore, found: RecoveryResult
) -> None:
    """Recover a message whose mess/N exists."""
    number = message.number
    _flush(disk, paths.mess(number), message.body)
    if disk.content(paths.todo(number)) == message.as_todo():
        _flush(disk, paths.todo(number), message.as_todo())
        store.mark_named(message)
        found.queued += 1
        return
    if disk.status(paths.intd(number)) is not None:
        # Left by an interrupted spill; no sweep would find it once mess/N is gone.
        disk.unlink(paths.intd(number))
        disk.sync_folder(paths.intd(number).rpartition("/")[0])
    if message.body is not None:
        message.crc = crc32(message.body)
    store.recovered(message, is_named=True)
    found.live += 1


def _misnumbered(disk: FileSystem, paths: QueuePaths) -> int:
    """Count the files mess/N whose inode number is not N."""
    suspects = [
        name
        for folder in paths.mess_dirs()
        for name, inode in disk.entries(folder)
        if name.isdigit() and int(name) != inode
    ]
    # Checked again by file, because a folder on an overlay may list other numbers than the files have.
    return sum((disk.status(paths.mess(int(name))) or (int(name),))[0] != int(name) for name in suspects)


def _drop_second_names(disk: FileSystem, paths: QueuePaths, pool: NumberPool) -> None:
    """Remove the names in pid/ of pool files that have become mess/N."""
    for number in pool.numbers:
        known = disk.status(paths.mess(number))
        if known is not None and known[0] == number:
            disk.sync_folder(paths.mess(number).rpartition("/")[0])
            disk.unlink(pool.path(number) or "")
            pool.discard(number)


def _is_body(disk: FileSystem, message: AcceptedMessage, path: str) -> bool:
    """Return whether the file at `path` holds the body of the message."""
    known = disk.status(path)
    if known is None or known[1] != message.size:
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


def _copy(disk: FileSystem, source: str, target: str) -> None:
    reading, offset = disk.open(source, os.O_RDONLY), 0
    try:
        writing = disk.open(target, os.O_WRONLY | os.O_TRUNC)
        try:
            while piece := disk.read_at(reading, _CHUNK, offset):
                disk.write(writing, piece)
                offset += len(piece)
        finally:
            disk.close(writing)
    finally:
        disk.close(reading)
    _flush(disk, target)


def _flush(disk: FileSystem, path: str, content: bytes | None = None) -> None:
    """Flush a file to the disk; if its content is known, write it again first.

    Data dropped by a failed flush can still be read, but no later flush would write it.
    """
    fd = disk.open(path, os.O_RDWR)
    try:
        if content is not None:
            disk.rewrite(fd, content)
        disk.sync(fd)
    finally:
        disk.close(fd)
    disk.sync_folder(path.rpartition("/")[0])
