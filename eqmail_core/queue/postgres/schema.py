"""The tables of a queue that several nodes share, and the steps from one version of them to the next.

A step is one transaction.  An installed version that this code does not know is never touched.

Fails: SchemaError.
Source: docs/adr/0018-queue-on-postgresql.md.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    import psycopg

LOCK = 0x65514D61
"""Key of the advisory lock that admits one migration at a time."""

STEPS = (
    """
    create table version (number int not null);
    create sequence number_block;
    create table node (
        id int primary key generated always as identity,
        name text not null unique,
        epoch bigint not null default 0,
        lease_until timestamptz not null default '-infinity',
        draining boolean not null default false,
        software text not null default '',
        waiting int not null default 0
    );
    create table message (
        id bigint primary key,
        node int,
        epoch bigint,
        due bigint not null,
        due_local bigint,
        due_remote bigint,
        birth bigint not null,
        uid bigint not null,
        qp bigint not null,
        size bigint not null,
        attempts int not null default 0,
        is_held boolean not null default false,
        home smallint not null default 0,
        envelope bytea not null,
        done bytea not null default '',
        replies bytea not null default '',
        bounce bytea not null default '',
        body bytea,
        chunks int not null default 0
    ) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
    alter table message alter body set storage external;
    create index message_due on message (due) where node is null and not is_held;
    create index message_node on message (node) where node is not null;
    create table chunk (
        id bigint not null,
        n int not null,
        stored timestamptz not null default now(),
        data bytea not null,
        primary key (id, n)
    );
    alter table chunk alter data set storage external;
    create table slot (
        destination text not null,
        node int not null,
        epoch bigint not null,
        n int not null,
        until timestamptz not null,
        primary key (destination, node)
    );
    """,
    """
    alter table version add queue uuid not null default gen_random_uuid();
    alter table message add warned boolean not null default false;
    create table moved (stamp text primary key, id bigint not null);
    """,
)
"""What makes version N + 1 from version N; only ever appended to.

A message has an owner (`node`, `epoch`) while it is at a scheduler, and none while it waits for any node; it is due at
`due`, the earlier of its channels' times.  Times are seconds since the epoch.  `done`: a bit for each recipient.
`warned`: the sender knows of the delay.  `envelope` and `body` never change.  A body that is longer than a row takes is
in `chunks` rows of `chunk`.  `version.queue` names the queue for ever.  `moved` has the messages that came from a
directory, until they are gone there.
"""

VERSION = len(STEPS)
"""The version that this code speaks."""


class SchemaError(Exception):
    """The tables are not those that this code speaks; the text says what to do."""


def installed_version(connection: "psycopg.Connection[tuple[object, ...]]") -> int:
    """Return the version of the tables, 0 where there are none."""
    row = connection.execute("select to_regclass('version') is not null").fetchone()
    if row is None or not row[0]:
        return 0
    row = connection.execute("select max(number) from version").fetchone()
    return int(str(row[0])) if row is not None and row[0] is not None else 0


def require_version(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    """Check that the tables are of this version.  Fails: SchemaError."""
    found = installed_version(connection)
    if found < VERSION:
        what = "has no queue" if not found else f"has a queue of version {found}, older than {VERSION}"
        raise SchemaError(f"the database {what}; run: eqmail cluster init")
    if found > VERSION:
        raise SchemaError(f"the database has a queue of version {found}, newer than {VERSION}; upgrade this node")


def migrate(connection: "psycopg.Connection[tuple[object, ...]]") -> tuple[int, int]:
    """Bring the tables to this version; return the versions before and after.

    `connection`: in autocommit mode, with a role that may create tables.
    Fails: SchemaError for tables of a newer version.
    """
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
        before = installed_version(connection)
        if before > VERSION:
            raise SchemaError(f"the database has a queue of version {before}, newer than {VERSION}; upgrade this node")
        for step in STEPS[before:]:
            connection.execute(step)
        if before < VERSION:
            statement = "update version set number = %s" if before else "insert into version (number) values (%s)"
            connection.execute(statement, (VERSION,))
    return before, VERSION
