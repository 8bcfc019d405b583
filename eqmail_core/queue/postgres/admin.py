"""What administrators see and change of a queue that nodes share: messages that wait, and those at a node.

Each page of a listing is a transaction of its own, so that a long listing holds up no clean-up of the database. A
message at a node is not changed: a delivery of it may run.

Fails: psycopg.Error.
Source: docs/adr/0018-queue-on-postgresql.md.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from psycopg.rows import class_row

from eqmail_core.dsn.qsbmf import failure_block
from eqmail_core.dsn.submitter import facts_of
from eqmail_core.ipc.admission_protocol import pack_done, unpack_done
from eqmail_core.ipc.scheduler_control_protocol import BUSY, DONE, GONE
from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.admin.actions import BOUNCED_BY_OPERATOR
from eqmail_core.queue.admin.filter import SHARED
from eqmail_core.queue.admin.messages import QueuedMessage, message_of
from eqmail_core.queue.format.channels import CHANNELS, HELD_UNTIL
from eqmail_core.queue.format.replies import parse_replies

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[object, ...]]

PAGE = 500

_LIST = """
select m.id, birth, size, envelope, done, due_local, due_remote, due, is_held, octet_length(bounce) > 0 as bounces,
       attempts, replies, node.name as node
from message m left join node on node.id = m.node
where m.id > %s and (%s::text is null or node.name = %s) and (%s::int8[] is null or m.id = any(%s::int8[]))
order by m.id limit %s
"""


class _Row(NamedTuple):
    id: int
    birth: int
    size: int
    envelope: bytes
    done: bytes
    due_local: int | None
    due_remote: int | None
    due: int
    is_held: bool
    bounces: bool
    attempts: int
    replies: bytes
    node: str | None


def shared_messages(
    connection: "Connection", channel_of: Callable[[bytes], int], node: str | None = None, only: list[int] | None = None
) -> Iterator[QueuedMessage]:
    """Yield all messages of a shared queue, or those at `node`, or those of `only`.

    `channel_of`: the channel of a recipient, as this node routes it.
    """
    last = 0
    while True:
        with connection.cursor(binary=True, row_factory=class_row(_Row)) as cursor:
            rows = cursor.execute(_LIST, (last, node, node, only, only, PAGE)).fetchall()
        yield from (_message(row, channel_of) for row in rows)
        if len(rows) < PAGE:
            return
        last = rows[-1].id


def _message(row: _Row, channel_of: Callable[[bytes], int]) -> QueuedMessage:
    envelope = Envelope.parse(row.envelope)
    sender, addresses = envelope.sender, envelope.recipients
    finished = unpack_done(row.done)
    recipients = [
        (CHANNELS[channel_of(address)], index in finished, address) for index, address in enumerate(addresses)
    ]
    is_held = row.is_held or row.due >= HELD_UNTIL
    state = "held" if is_held else "waiting"
    if row.node is not None:
        state = "running"
    elif len(finished) >= len(addresses):
        state = "finished"
    facts = facts_of(envelope.dsn)
    message = message_of(row.id, SHARED, row.birth, row.size, sender, state, recipients, row.bounces, facts)
    message.node = row.node or ""
    places = [(CHANNELS.index(name), offset) for (name, _, _), offset in zip(recipients, message.offsets, strict=True)]
    replies = parse_replies(row.replies)
    message.attempts = {places[index]: it for index, it in replies.items() if index < len(places)}
    times = (row.due_local, row.due_remote)
    for name in {name for name, done, _ in recipients if not done}:
        due = times[CHANNELS.index(name)]
        message.due[name] = HELD_UNTIL if is_held else due if due is not None else row.due
    return message


def count_shared(connection: "Connection") -> int:
    """Return how many messages the queue has."""
    row = connection.execute("select count(*) from message").fetchone()
    assert row is not None and isinstance(row[0], int)
    return row[0]


def texts_of(connection: "Connection", number: int) -> tuple[Iterator[bytes], bytes] | None:
    """Return a message in pieces, and the reports of its failed recipients; None where it is not there."""
    statement = "select body, chunks, bounce from message where id = %s"
    row = connection.execute(statement, (number,), binary=True).fetchone()
    if row is None:
        return None
    body, chunks, bounce = row
    assert isinstance(bounce, bytes) and isinstance(chunks, int)
    return (iter([body]) if isinstance(body, bytes) else _pieces(connection, number, chunks)), bounce


def _pieces(connection: "Connection", number: int, chunks: int) -> Iterator[bytes]:
    for n in range(chunks):
        row = connection.execute("select data from chunk where id = %s and n = %s", (number, n), binary=True).fetchone()
        if row is not None and isinstance(row[0], bytes):
            yield row[0]


_WAITING = "where id = any(%s::int8[]) and node is null returning id"
_STATEMENTS = {
    b"retry": "update message set due = 0, due_local = least(due_local, 0), due_remote = least(due_remote, 0) "
    f"{_WAITING}",
    b"hold": f"update message set is_held = true {_WAITING}",
    b"release": "update message set is_held = false, due = 0, due_local = least(due_local, 0), "
    f"due_remote = least(due_remote, 0) {_WAITING}",
    b"delete": f"with gone as (delete from message {_WAITING}), pieces as "
    "(delete from chunk using gone where chunk.id = gone.id) select id from gone",
}
"""What each verb does with messages that wait; the numbers that were changed come back."""


def change_shared(
    connection: "Connection", verb: bytes, numbers: list[int], original_address: Callable[[bytes], bytes]
) -> Iterator[tuple[int, bytes]]:
    """Change messages; yield number and result of each: DONE, BUSY for one at a node, GONE."""
    for start in range(0, len(numbers), PAGE):
        batch = numbers[start : start + PAGE]
        if verb in _STATEMENTS:
            rows = connection.execute(_STATEMENTS[verb], (batch,)).fetchall()
            changed = {number for (number,) in rows}
        else:
            changed = {number for number in batch if _bounce(connection, number, original_address)}
        left = [number for number in batch if number not in changed]
        there = {
            number for (number,) in connection.execute("select id from message where id = any(%s::int8[])", (left,))
        }
        for number in batch:
            yield number, DONE if number in changed else BUSY if number in there else GONE


def _bounce(connection: "Connection", number: int, original_address: Callable[[bytes], bytes]) -> bool:
    """Note every unfinished recipient as failed; return whether the message waited."""
    with connection.transaction():
        row = connection.execute(
            "select envelope, done from message where id = %s and node is null for update", (number,), binary=True
        ).fetchone()
        if row is None:
            return False
        envelope, done = row
        assert isinstance(envelope, bytes) and isinstance(done, bytes)
        recipients = Envelope.parse(envelope).recipients
        finished = unpack_done(done)
        blocks = [
            failure_block(original_address(address), BOUNCED_BY_OPERATOR)
            for index, address in enumerate(recipients)
            if index not in finished
        ]
        connection.execute(
            "update message set done = %s, bounce = bounce || %s, due = 0, due_local = 0, due_remote = null, "
            "is_held = false where id = %s",
            (pack_done(range(len(recipients))), b"".join(blocks), number),
        )
    return True
