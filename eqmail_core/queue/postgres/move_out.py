"""Moves the messages of a database into a stopped queue directory; no node may be running.

Messages are laid out as the files of a queue in a scratch folder, a page at a time.  `queue.admin.transfer` copies
them from there, under numbers of the directory.  It knows which are there already, so that an interruption neither
loses nor duplicates one.  Rows are deleted when their copies are in its log.

Fails: OSError of the file system; psycopg.Error; NodesRunning.
Source: docs/adr/0018-queue-on-postgresql.md.
"""

import os
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from eqmail_core.dsn.parameters import parse_dsn, render_dsn
from eqmail_core.ipc.admission_protocol import unpack_done
from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.admin.transfer import SourceMessage, TransferLog, transfer
from eqmail_core.queue.files import LIST_MODE, WARNED_MODE
from eqmail_core.queue.format.channels import CHANNELS, HELD_UNTIL
from eqmail_core.queue.format.info import render_info
from eqmail_core.queue.format.recipient_list import numbered, render_list
from eqmail_core.queue.postgres.stored_message import WholeMessage
from eqmail_core.queue.routing import Routes
from eqmail_core.site.layout import QueuePaths
from eqmail_core.system.files import write_all

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[object, ...]]

PAGE = 100
"""Messages in one transaction."""

_PAGE = f"select {', '.join(WholeMessage._fields)} from message where id > %s order by id limit %s for update"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_NS = 1_000_000_000


class NodesRunning(Exception):
    """Nodes deliver from the database; `names`."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(", ".join(names))
        self.names = names


def move_into_directory(
    connection: "Connection",
    paths: QueuePaths,
    routes: Routes,
    log: TransferLog,
    scratch: str,
    on_progress: Callable[[int], None],
) -> int:
    """Move all messages; return how many.  `scratch`: a folder that is made, emptied and removed here."""
    queue = _end_all_epochs(connection)
    moved = last = 0
    while True:
        shutil.rmtree(scratch, ignore_errors=True)
        os.makedirs(scratch, 0o700)
        with connection.transaction():
            with connection.cursor(binary=True, row_factory=class_row(WholeMessage)) as cursor:
                rows = cursor.execute(_PAGE, (last, PAGE)).fetchall()
            messages = [_laid_out(connection, row, f"{scratch}/{row.id}", queue, routes, log) for row in rows]
            transfer(messages, paths, log, lambda count: None)
            numbers = [row.id for row in rows]
            connection.execute("delete from chunk where id = any(%s)", (numbers,))
            connection.execute("delete from message where id = any(%s)", (numbers,))
        shutil.rmtree(scratch)
        moved += len(rows)
        on_progress(moved)
        if len(rows) < PAGE:
            return moved
        last = rows[-1].id


def _end_all_epochs(connection: "Connection") -> str:
    """Make sure that no node has a message, or gets one from its past; return the name of the queue."""
    with connection.transaction():
        live = connection.execute(
            "select name from node where lease_until > clock_timestamp() order by name for update"
        )
        names = [str(name) for (name,) in live.fetchall()]
        if names:
            raise NodesRunning(names)
        connection.execute("update node set epoch = epoch + 1")
        row = connection.execute("select queue from version").fetchone()
    assert row is not None
    return str(row[0])


def _laid_out(
    connection: "Connection", row: WholeMessage, folder: str, queue: str, routes: Routes, log: TransferLog
) -> SourceMessage:
    """Write the files of a message below `folder`, unless it is in the directory already."""
    os.mkdir(folder, 0o700)
    files = {"mess": f"{folder}/mess"}
    stamp = f"{queue}.{row.id}"
    if log.has_stamp(stamp):
        _write(files["mess"], b"", row.birth)
        return SourceMessage(row.id, files, stamp)
    pieces = [row.body] if row.body is not None else _chunks(connection, row)
    _write(files["mess"], b"".join(pieces), row.birth)
    envelope, done = Envelope.parse(row.envelope), unpack_done(row.done)
    lists: tuple[list[bytes], list[bytes]] = ([], [])
    indexes: tuple[list[int], list[int]] = ([], [])
    for index, recipient in enumerate(envelope.recipients):
        channel, address = routes.route(recipient)
        lists[channel].append(address)
        indexes[channel].append(index)
    places: dict[int, tuple[int, int]] = {}
    for channel, name in enumerate(CHANNELS):
        offsets = [offset for offset, _, _ in numbered(lists[channel])]
        places |= {index: (channel, offset) for index, offset in zip(indexes[channel], offsets, strict=True)}
        finished = [offset for index, offset in zip(indexes[channel], offsets, strict=True) if index in done]
        if len(finished) == len(offsets):
            continue
        due = (row.due_local, row.due_remote)[channel]
        files[name] = f"{folder}/{name}"
        time = HELD_UNTIL if row.is_held else row.due if due is None else due
        _write(files[name], render_list(lists[channel], finished), time)
    if row.bounce:
        files["bounce"] = f"{folder}/bounce"
        _write(files["bounce"], row.bounce, row.birth)
    dsn = parse_dsn(envelope.dsn)
    text = b"" if dsn is None else render_dsn(dsn.by_lists(places))
    files["info"] = f"{folder}/info"
    _write(files["info"], render_info(envelope.sender, text), row.birth, WARNED_MODE if row.warned else LIST_MODE)
    return SourceMessage(row.id, files, stamp)


def _chunks(connection: "Connection", row: WholeMessage) -> list[bytes]:
    cursor = connection.execute("select data from chunk where id = %s order by n", (row.id,), binary=True)
    pieces = [data for (data,) in cursor if isinstance(data, bytes)]
    if len(pieces) != row.chunks:
        raise OSError(f"message {row.id}: {len(pieces)} of {row.chunks} pieces of its body are there")
    return pieces


def _write(path: str, text: bytes, mtime: int, mode: int = LIST_MODE) -> None:
    fd = os.open(path, _NEW, mode)
    try:
        write_all(fd, text)
        os.fchmod(fd, mode)
        os.utime(fd, ns=(mtime * _NS, mtime * _NS))
    finally:
        os.close(fd)
