"""The nodes that share a queue in PostgreSQL, and the tables of that queue.

The database is asked as the account of the queue service, so that its login (peer, certificate, passfile) is enough.

Fails: EqmailError where there is no such queue, no database, or no such node.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from eqmail_core.queue.admin.shared import connect_as_queue_account
from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[object, ...]]

Result = TypeVar("Result")
EXTRA = ("pip", "install", "eqmail[cluster]")
STATUS = ("eqmail", "cluster", "status")

_NODES = """
select name, lease_until > clock_timestamp(), draining, software, epoch, nullif(lease_until, '-infinity'),
    (select count(*) from message where node = node.id)
from node order by name
"""
_WAITING = "select count(*), count(*) filter (where is_held), min(birth) from message where node is null"
_DURABILITY = """
select current_setting('synchronous_standby_names'),
    (select count(*) from pg_stat_replication where sync_state in ('sync', 'quorum'))
"""
_FORGET = """
with gone as (delete from node where name = %s and lease_until < clock_timestamp() returning id),
     freed as (update message set node = null, epoch = null from gone where node = gone.id)
select count(*) from gone
"""


class NodeStatus(NamedTuple):
    """A node: whether its lease lasts, whether it is being drained, and the messages that it has at the moment."""

    name: str
    is_live: bool
    is_draining: bool
    software: str
    epoch: int
    lease_until: datetime | None
    messages: int


class ClusterStatus(NamedTuple):
    """All nodes; messages that wait, held ones among them, and when the oldest was accepted (seconds, None: none).

    `standbys`: those that confirm commits; `wants_standby`: whether the database waits for one.
    """

    nodes: list[NodeStatus]
    waiting: int
    held: int
    oldest: int | None
    wants_standby: bool
    standbys: int


def create_tables(site: Site) -> tuple[int, int]:
    """Create the tables of the queue, or bring them to this version; return the versions before and after."""
    from eqmail_core.queue.postgres.schema import migrate

    return ask_database(site, migrate)


def cluster_status(site: Site) -> ClusterStatus:
    """Return the nodes and what waits."""

    def look(connection: "Connection") -> ClusterStatus:
        from eqmail_core.queue.postgres.schema import require_version

        require_version(connection)
        nodes = [NodeStatus(*row) for row in connection.execute(_NODES)]  # type: ignore[arg-type]
        waiting, held, oldest = connection.execute(_WAITING).fetchone() or (0, 0, None)
        names, standbys = connection.execute(_DURABILITY).fetchone() or ("", 0)
        return ClusterStatus(nodes, waiting, held, oldest, bool(names), standbys)  # type: ignore[arg-type]

    return ask_database(site, look)


def set_draining(site: Site, name: str, draining: bool) -> None:
    """Let a node take no more waiting messages, or again."""

    def change(connection: "Connection") -> None:
        if not connection.execute("update node set draining = %s where name = %s", (draining, name)).rowcount:
            raise EqmailError(f"node {name!r}: unknown", hint=STATUS)

    ask_database(site, change)


def forget_node(site: Site, name: str) -> None:
    """Remove a node that does not run; what it had becomes free."""

    def change(connection: "Connection") -> None:
        row = connection.execute(_FORGET, (name,)).fetchone()
        if row and row[0]:
            return
        if connection.execute("select 1 from node where name = %s", (name,)).fetchone():
            raise EqmailError(f"node {name!r}: is running; stop its services first")
        raise EqmailError(f"node {name!r}: unknown", hint=STATUS)

    ask_database(site, change)


def ask_database(site: Site, work: Callable[["Connection"], Result]) -> Result:
    """Run `work` on a connection of the queue service's account.  Fails: EqmailError."""
    if not site.queue_database:
        raise EqmailError(
            "the queue is in the directory, not in a database",
            hint=("eqmail", "setup", "--queue", "postgresql:host=DB dbname=eqmail user=qmailq"),
        )
    with database_errors(), connect_as_queue_account(site) as connection:
        return work(connection)


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn what goes wrong with the database into errors of commands."""
    try:
        import psycopg

        from eqmail_core.queue.postgres.connection import one_line
        from eqmail_core.queue.postgres.errors import DatabaseError
        from eqmail_core.queue.postgres.schema import SchemaError
    except ImportError as error:
        raise EqmailError(f"the library of the database is missing: {error}", hint=EXTRA) from error
    try:
        yield
    except SchemaError as error:
        raise EqmailError(str(error), hint=("eqmail", "cluster", "init")) from error
    except psycopg.Error as error:
        raise EqmailError(f"the database of the queue: {one_line(error)}") from error
    except DatabaseError as error:
        raise EqmailError(f"the database of the queue: {error.strerror}") from error
