"""Moves the messages of a stopped queue directory into the database that nodes share.

    store    a group of messages and the stamp of each in one transaction: a message is there once, however often
    remove   the originals, flushed; then the stamps, which no longer distinguish anything

*Invariant.* An original is removed only when its stamp is in the database, and a message whose stamp is there is never
stored again.  So an interruption at any point loses and duplicates nothing; the next run goes on.

An envelope that no packet between the services takes becomes several messages.  The caller has locked the queue.

Fails: OSError of the file system; psycopg.Error; CommitUnknown.  What is committed stays.
Source: docs/adr/0018-queue-on-postgresql.md.
"""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from eqmail_core.dsn.parameters import DsnParameters, RecipientDsn, parse_dsn, render_dsn
from eqmail_core.ipc.admission_protocol import MAX_ENVELOPE, pack_done
from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.admin.transfer import SourceMessage, flush_queue, remove_original
from eqmail_core.queue.format.channels import CHANNELS, HELD_UNTIL
from eqmail_core.queue.format.info import dsn_in_info, parse_info
from eqmail_core.queue.format.recipient_list import MARK_DONE, MARK_TODO, records
from eqmail_core.queue.format.todo import BadTodo, parse_todo
from eqmail_core.queue.format.tree import WARNED
from eqmail_core.queue.postgres.database import BLOCK, CHUNK_BYTES
from eqmail_core.queue.postgres.errors import CommitUnknown
from eqmail_core.queue.postgres.homes import home_of
from eqmail_core.queue.postgres.releases import destination
from eqmail_core.queue.routing import Routes
from eqmail_core.site.layout import QueuePaths
from eqmail_core.system.files import read_file

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[object, ...]]

GROUP = 64
"""Messages in one transaction, at most."""

GROUP_BYTES = 16 << 20
"""Bytes of messages after which a transaction takes no further one."""

INLINE_BYTES = 1 << 20
"""Longest body in one row."""

_STORE = """
insert into message (id, due, due_local, due_remote, birth, uid, qp, size, is_held, home, envelope, done, bounce,
    warned, body, chunks)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


class Facts(NamedTuple):
    """What the files of a message say; `dsn` by the index of a recipient; `due` by channel, None: nothing is left."""

    sender: bytes
    recipients: list[bytes]
    done: set[int]
    due: list[int | None]
    birth: int
    uid: int
    qp: int
    dsn: DsnParameters | None
    bounce: bytes
    is_warned: bool


def move_into_database(
    messages: Sequence[SourceMessage],
    paths: QueuePaths,
    routes: Routes,
    connection: "Connection",
    on_progress: Callable[[int], None],
    on_problem: Callable[[SourceMessage, str], None],
) -> int:
    """Move messages; return how many.  `on_problem` gets those that cannot be understood: they stay."""
    origin = f"{socket.gethostname()}:{os.path.realpath(paths.root)}:"
    warnings: list[str] = []
    connection.add_notice_handler(
        lambda notice: warnings.append(notice.message_primary or "") if notice.severity == "WARNING" else None
    )
    numbers = _numbers(connection)
    moved = 0
    for group in _groups(messages):
        stamps = {origin + message.stamp: message for message in group}
        taken: list[str] = []
        with connection.transaction():
            rows = connection.execute("select stamp from moved where stamp = any(%s)", (list(stamps),)).fetchall()
            there = {str(stamp) for (stamp,) in rows}
            for stamp, message in stamps.items():
                if stamp not in there:
                    try:
                        facts = read_message(message, routes)
                    except (BadTodo, ValueError) as error:
                        on_problem(message, str(error))
                        continue
                    _store(connection, message, stamp, facts, numbers)
                taken.append(stamp)
        if warnings:
            raise CommitUnknown(warnings[0])
        for stamp in taken:
            remove_original(stamps[stamp])
        flush_queue(paths)
        connection.execute("delete from moved where stamp = any(%s)", (taken,))
        moved += len(taken)
        on_progress(moved)
    return moved


def read_message(message: SourceMessage, routes: Routes) -> Facts:
    """Read everything but the body.  Fails: OSError; ValueError where a file cannot be understood."""
    files = message.files
    if message.is_unprocessed:
        todo = parse_todo(read_file(files["todo"]) or b"")
        birth = int(os.lstat(files["mess"]).st_mtime)
        envelope = todo.envelope
        dsn = parse_dsn(envelope.dsn)
        return Facts(
            envelope.sender, envelope.recipients, set(), [None, None], birth, todo.uid, todo.pid, dsn, b"", False
        )
    text = read_file(files["info"]) or b""
    sender, state = parse_info(text), os.lstat(files["info"])
    if sender is None:
        raise ValueError("info is not complete")
    listed = parse_dsn(dsn_in_info(text))
    recipients: list[bytes] = []
    each_dsn: list[RecipientDsn] = []
    done: set[int] = set()
    due: list[int | None] = [None, None]
    for channel, name in enumerate(CHANNELS):
        if name not in files:
            continue
        for offset, mark, address in records((read_file(files[name]) or b"",)):
            if mark not in (MARK_TODO, MARK_DONE):
                raise ValueError(f"a record of {name} has an unknown type")
            if mark == MARK_DONE:
                done.add(len(recipients))
            else:
                due[channel] = int(os.lstat(files[name]).st_mtime)
            recipients.append(routes.original_address(address) if channel == 0 else address)
            if listed is not None:
                each_dsn.append(listed.listed(channel, offset))
    dsn = None if listed is None else listed.with_recipients(each_dsn)
    bounce = (read_file(files["bounce"]) or b"") if "bounce" in files else b""
    is_warned = bool(state.st_mode & WARNED)
    return Facts(sender, recipients, done, due, int(state.st_mtime), 0, 0, dsn, bounce, is_warned)


def _store(connection: "Connection", message: SourceMessage, stamp: str, facts: Facts, numbers: Iterator[int]) -> None:
    first = 0
    for start, end in _parts(facts):
        number = next(numbers)
        first = first or number
        recipients, dsn = facts.recipients[start:end], facts.dsn
        if dsn is not None:
            dsn = dsn.with_recipients([dsn.recipient(index) for index in range(start, end)])
        rendered = Envelope(facts.sender, recipients, render_dsn(dsn)).render()
        envelope = rendered if dsn is not None else rendered[:-1]
        done = pack_done([index - start for index in facts.done if start <= index < end])
        is_held = any(due is not None and due >= HELD_UNTIL for due in facts.due)
        dues = [None if due is None else 0 if due >= HELD_UNTIL else due for due in facts.due]
        due = min((due for due in dues if due is not None), default=facts.birth)
        if not recipients or len(facts.done) == len(facts.recipients):
            # Only its bounce is to be sent.
            due = dues[0] = 1
        chunks = 0 if message.size <= INLINE_BYTES else -(-message.size // CHUNK_BYTES)
        body = None if chunks else read_file(message.files["mess"]) or b""
        home = home_of(destination(envelope, done))
        bounce = facts.bounce if start == 0 else b""
        row = (
            number,
            due,
            *dues,
            facts.birth,
            facts.uid,
            facts.qp,
            message.size,
            is_held,
            home,
            envelope,
            done,
            bounce,
        )
        connection.execute(_STORE, (*row, facts.is_warned, body, chunks))
        if chunks:
            _store_chunks(connection, message.files["mess"], number, chunks)
    connection.execute("insert into moved (stamp, id) values (%s, %s)", (stamp, first))


def _parts(facts: Facts) -> Iterator[tuple[int, int]]:
    """Yield ranges of recipients whose envelopes fit a packet; one, empty or not, at least."""
    start = size = 0
    has_dsn = facts.dsn is not None
    for index, recipient in enumerate(facts.recipients):
        # The parameters of a recipient are longer than the address only if its sender wanted that.
        added = len(recipient) + 2 + (len(render_dsn(_alone(facts, index))) if has_dsn else 0)
        if size + added > MAX_ENVELOPE - 4096 and index > start:
            yield start, index
            start, size = index, 0
        size += added
    yield start, len(facts.recipients)


def _alone(facts: Facts, index: int) -> DsnParameters:
    assert facts.dsn is not None
    return facts.dsn.with_recipients([facts.dsn.recipient(index)])


def _store_chunks(connection: "Connection", path: str, number: int, chunks: int) -> None:
    with open(path, "rb", buffering=0) as file:
        for n in range(chunks):
            connection.execute(
                "insert into chunk (id, n, data) values (%s, %s, %s)",
                (number, n, os.pread(file.fileno(), CHUNK_BYTES, n * CHUNK_BYTES)),
            )


def _numbers(connection: "Connection") -> Iterator[int]:
    """Yield numbers that no message has or had."""
    while True:
        row = connection.execute("select nextval('number_block')").fetchone()
        assert row is not None and isinstance(row[0], int)
        yield from range(row[0] * BLOCK, (row[0] + 1) * BLOCK)


def _groups(messages: Sequence[SourceMessage]) -> Iterator[list[SourceMessage]]:
    group: list[SourceMessage] = []
    size = 0
    for message in messages:
        group.append(message)
        size += message.size
        if len(group) >= GROUP or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
