"""What this node asks of the database, a method each; every one is one transaction and one round trip.

Every change of a message says who owns it: the node and its epoch.  Where another node has taken over meanwhile it
changes nothing, so a late write of a node that was stopped does no harm.

Long because one table of statements is easier to check than three.

Fails: as DatabaseConnection.run; Fenced where this node's epoch is over.
Source: docs/adr/0018-queue-on-postgresql.md.
"""

from collections.abc import Sequence
from typing import NamedTuple

from psycopg.rows import class_row

from eqmail_core.queue.postgres.connection import Cursor, DatabaseConnection
from eqmail_core.queue.postgres.errors import Fenced
from eqmail_core.queue.postgres.stored_message import Claimed, Deferral

BLOCK = 1000
"""Message numbers that a node takes at a time."""

CHUNK_BYTES = 256 << 10
"""Bytes of one row of a body that is stored in pieces."""

ORPHAN_S = 3600
"""Age at which pieces without a message are removed."""

FREED_AT_ONCE = 500
"""Messages of a dead node that become free in one transaction."""

ANYBODY_S = 30
"""A message that is overdue by this is taken by any node, not by its destination's only."""

_COLUMNS = ", ".join(f"m.{name}" for name in Claimed._fields)

_ACCEPT = """
with ended as (delete from message where id = any(%b::int8[]) and node = %b and epoch = %b returning id, chunks),
     pieces as (delete from chunk using ended where chunk.id = ended.id and ended.chunks > 0),
     mine as (select 1 from node where id = %b and epoch = %b)
insert into message (id, node, epoch, due, birth, uid, qp, size, home, envelope, body, chunks)
select n.id, %b, %b, n.birth, n.birth, n.uid, n.qp, n.size, 0, n.envelope, n.body, n.chunks
from mine, unnest(%b::int8[], %b::int8[], %b::int8[], %b::int8[], %b::int8[], %b::bytea[], %b::bytea[], %b::int4[])
     as n (id, birth, uid, qp, size, envelope, body, chunks)
"""

_DEFER = """
update message m set node = null, epoch = null, due = d.due, due_local = d.due_local, due_remote = d.due_remote,
    home = d.home, done = d.done, replies = d.replies, bounce = d.bounce, is_held = d.is_held, warned = d.warned,
    attempts = attempts + 1
from unnest(%b::int8[], %b::int8[], %b::int8[], %b::int8[], %b::int2[], %b::bytea[], %b::bytea[], %b::bytea[],
            %b::bool[], %b::bool[])
    as d (id, due, due_local, due_remote, home, done, replies, bounce, is_held, warned)
where m.id = d.id and m.node = %b and m.epoch = %b
"""

_CLAIM = f"""
with mine as (select 1 from node where id = %b and epoch = %b and not draining),
due as (
    select message.id from mine, message
    where node is null and not is_held and due <= %b and (home = any(%b::int2[]) or due <= %b)
    order by due limit %b for update of message skip locked)
update message m set node = %b, epoch = %b from due where m.id = due.id returning {_COLUMNS}
"""

_BEAT = """
update node set lease_until = clock_timestamp() + make_interval(secs => %b), waiting = %b
where id = %b and epoch = %b returning draining
"""

_LIVE = "select id from node where lease_until > clock_timestamp() and not draining or id = %b order by id"

_START = """
insert into node (name, epoch, software) values (%b, 1, %b)
on conflict (name) do update set epoch = node.epoch + 1, software = excluded.software, draining = false,
    lease_until = '-infinity'
returning id, epoch
"""

# Own messages of earlier epochs, and those of nodes whose lease is over, some at a time.
_EXPIRE = """
update node set epoch = epoch + 1
where id <> %b and lease_until < clock_timestamp() and lease_until > '-infinity' and exists
    (select 1 from message where message.node = node.id and message.epoch = node.epoch)
returning name
"""

_FREE = """
with stale as (
    select message.id from message join node on message.node = node.id where message.epoch <> node.epoch
    limit %b for update of message skip locked)
update message m set node = null, epoch = null from stale where m.id = stale.id
"""

_WITHDRAW = """
with placed as (
    insert into message (id, due, birth, uid, qp, size, envelope, is_held)
    select id, 0, 0, 0, 0, 0, '', true from unnest(%b::int8[]) as n (id) on conflict do nothing)
select 1
"""


_SWEEP = """
delete from chunk using (
    select id, n from chunk where stored < now() - make_interval(secs => %b)
    and not exists (select 1 from message where message.id = chunk.id) limit %b) as orphan
where chunk.id = orphan.id and chunk.n = orphan.n
"""

_NEVER = 1 << 62


class NewMessage(NamedTuple):
    """A message to be stored; `body`: None where its pieces are stored already."""

    number: int
    birth: int
    uid: int
    qp: int
    size: int
    envelope: bytes
    body: bytes | None
    chunks: int


class NodeIdentity:
    """Who this node is to the database: its number and epoch, 0 before `QueueDatabase.start`."""

    __slots__ = ("epoch", "node")

    def __init__(self) -> None:
        self.node = self.epoch = 0


class QueueDatabase:
    """The queue as one node sees it, over one connection; all connections of a node share its `identity`."""

    def __init__(self, connection: DatabaseConnection, identity: NodeIdentity) -> None:
        self.connection = connection
        self.identity = identity

    @property
    def _owner(self) -> tuple[int, int]:
        return self.identity.node, self.identity.epoch

    # The node.

    def start(self, name: str, software: str) -> tuple[int, int]:
        """Begin a new epoch of the node `name`; what it had before becomes free.  Returns its id and epoch."""
        ((node, epoch),) = self.connection.query(_START, (name, software))
        self.identity.node, self.identity.epoch = _int(node), _int(epoch)
        return self._owner

    def leave(self) -> None:
        """End the lease, so that others need not wait for its end."""
        self.connection.query("update node set lease_until = '-infinity' where id = %b and epoch = %b", self._owner)

    def beat(self, lease_s: float, waiting: int) -> bool:
        """Renew the lease; return whether the node is to drain.  Fails: Fenced."""
        rows = self.connection.query(_BEAT, (lease_s, waiting, *self._owner))
        if not rows:
            raise Fenced("another node took over the messages of this one")
        return bool(rows[0][0])

    def live_nodes(self) -> list[int]:
        """Return the nodes that take messages, this one among them."""
        return [_int(row[0]) for row in self.connection.query(_LIVE, (self.identity.node,))]

    def expire_nodes(self) -> list[str]:
        """End the epochs of nodes whose lease is over; return their names."""
        return [str(row[0]) for row in self.connection.query(_EXPIRE, (self.identity.node,))]

    def free_stale(self) -> int:
        """Free some messages of ended epochs; return how many."""
        return self.connection.run(lambda cursor: cursor.execute(_FREE, (FREED_AT_ONCE,)).rowcount)

    # Messages.

    def take_numbers(self) -> range:
        """Return message numbers that no other message has or had."""
        ((block,),) = self.connection.query("select nextval('number_block')")
        return range(_int(block) * BLOCK, (_int(block) + 1) * BLOCK)

    def accept(self, messages: Sequence[NewMessage], ended: Sequence[int]) -> None:
        """Store new messages as owned by this node, and remove ended ones.  Fails: Fenced, with nothing stored."""
        values = (
            list(ended),
            *self._owner * 3,
            [message.number for message in messages],
            [message.birth for message in messages],
            [message.uid for message in messages],
            [message.qp for message in messages],
            [message.size for message in messages],
            [message.envelope for message in messages],
            [message.body for message in messages],
            [message.chunks for message in messages],
        )
        stored = self.connection.run(lambda cursor: cursor.execute(_ACCEPT, values).rowcount)
        if stored < len(messages):
            raise Fenced("another node took over the messages of this one")

    def remove(self, ended: Sequence[int]) -> None:
        """Remove messages whose every recipient is done."""
        self.accept((), ended)

    def defer(self, deferrals: Sequence[Deferral]) -> int:
        """Give messages back, to be tried again; return how many were still owned by this node."""
        columns = [
            [deferral.number for deferral in deferrals],
            [min(due for due in (*deferral.due, _NEVER) if due is not None) for deferral in deferrals],
            [deferral.due[0] for deferral in deferrals],
            [deferral.due[1] for deferral in deferrals],
            [deferral.home for deferral in deferrals],
            [deferral.done for deferral in deferrals],
            [deferral.replies for deferral in deferrals],
            [deferral.bounce for deferral in deferrals],
            [deferral.is_held for deferral in deferrals],
            [deferral.warned for deferral in deferrals],
        ]
        values = (*columns, *self._owner)
        return self.connection.run(lambda cursor: cursor.execute(_DEFER, values).rowcount)

    def claim(self, now: int, homes: Sequence[int], limit: int) -> list[Claimed]:
        """Take messages that are due: those of these homes, and long overdue ones of any home."""
        values = (*self._owner, now, list(homes), now - ANYBODY_S, limit, *self._owner)
        return self.connection.run(lambda cursor: _claimed(cursor, values))

    def owned(self) -> list[int]:
        """Return the numbers of all messages that this node owns."""
        rows = self.connection.query("select id from message where node = %b and epoch = %b", self._owner)
        return [_int(row[0]) for row in rows]

    def release(self, numbers: Sequence[int]) -> None:
        """Give messages back as they are."""
        self.connection.query(
            "update message set node = null, epoch = null where id = any(%b::int8[]) and node = %b and epoch = %b",
            (list(numbers), *self._owner),
        )

    def withdraw(self, numbers: Sequence[int]) -> None:
        """Make sure that messages whose commit was unknown are not there, now and later.

        A row of the same number waits for a transaction that is still running, and then removes what it left.
        """

        def work(cursor: Cursor) -> None:
            cursor.execute("begin")
            cursor.execute(_WITHDRAW, (list(numbers),))
            cursor.execute("delete from message where id = any(%b::int8[])", (list(numbers),))
            cursor.execute("delete from chunk where id = any(%b::int8[])", (list(numbers),))
            cursor.execute("commit")

        self.connection.run(work)

    # Long bodies.

    def store_chunk(self, number: int, n: int, data: bytes) -> None:
        """Store piece `n` of a body; it has no owner until its message is stored."""
        self.connection.query("insert into chunk (id, n, data) values (%b, %b, %b)", (number, n, data))

    def chunk(self, number: int, n: int) -> bytes:
        """Return piece `n` of a body, b"" where there is none."""
        rows = self.connection.query("select data from chunk where id = %b and n = %b", (number, n))
        data = rows[0][0] if rows else b""
        assert isinstance(data, bytes)
        return data

    def sweep_chunks(self) -> int:
        """Remove some pieces whose message is gone, or was never stored; return how many."""
        return self.connection.run(lambda cursor: cursor.execute(_SWEEP, (ORPHAN_S, FREED_AT_ONCE)).rowcount)


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _claimed(cursor: Cursor, values: Sequence[object]) -> list[Claimed]:
    with cursor.connection.cursor(binary=True, row_factory=class_row(Claimed)) as typed:
        return typed.execute(_CLAIM, values).fetchall()
