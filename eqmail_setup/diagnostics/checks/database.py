"""What is wrong with the database of a queue that nodes share: what prevents its use, makes it slow, or unsafe.

Fails: never; a database that does not answer is a finding.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from eqmail_core.site.site import Site
from eqmail_setup.diagnostics.finding import ERROR, NOTE, WARNING, Finding
from eqmail_setup.errors import EqmailError

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[object, ...]]

MAX_TRANSACTION_S = 60
"""Age of a transaction from which it holds up the clean-up of ended messages."""

MAX_CLOCK_S = 60
"""Difference of the clocks of node and database that matters: due times are the node's."""

MAX_DEAD_RATIO, LEAST_DEAD = 5, 10_000
"""Ended messages that were not cleaned up, for each one that is there, and their least number."""

_IDLE = """
select count(*), coalesce(max(extract(epoch from clock_timestamp() - state_change))::int, 0) from pg_stat_activity
where datname = current_database() and state like 'idle in transaction%%'
    and state_change < clock_timestamp() - make_interval(secs => %s)
"""
_OLD = """
select count(*), coalesce(max(extract(epoch from clock_timestamp() - xact_start))::int, 0) from pg_stat_activity
where backend_xmin is not null and xact_start < clock_timestamp() - make_interval(secs => %s)
    and pid <> pg_backend_pid()
"""
_DEAD = "select n_dead_tup, n_live_tup from pg_stat_user_tables where relname = 'message'"
_STANDBY = """
select current_setting('synchronous_standby_names') <> '',
    (select count(*) from pg_stat_replication where sync_state in ('sync', 'quorum'))
"""


def check_database(site: Site) -> Iterator[Finding]:
    """Whether the database can be used, and what holds up its work."""
    if not site.queue_database:
        return
    from eqmail_setup.queue.nodes import ask_database

    try:
        yield from ask_database(site, lambda connection: list(_look(connection)))
    except EqmailError as error:
        remedy = error.hint or "start the database, or let this node log in and write; mail is refused until then"
        yield Finding("database.unusable", ERROR, str(error), remedy)


def _look(connection: "Connection") -> Iterator[Finding]:
    from eqmail_core.queue.postgres.schema import require_version

    require_version(connection)
    count, seconds = _pair(connection, _IDLE, MAX_TRANSACTION_S)
    if count:
        fact = f"{count} sessions idle in a transaction, the longest for {seconds} s"
        yield Finding(
            "database.idle-transaction", WARNING, fact, "end them: they prevent the clean-up of ended messages"
        )
    count, seconds = _pair(connection, _OLD, MAX_TRANSACTION_S)
    if count:
        fact = f"{count} sessions with an old snapshot, the oldest of {seconds} s"
        yield Finding("database.old-snapshot", WARNING, fact, "run long queries and dumps on a standby")
    dead, live = _pair(connection, _DEAD)
    if dead > max(LEAST_DEAD, MAX_DEAD_RATIO * live):
        fact = f"{dead} ended messages are not cleaned up yet, beside {live} that are there"
        yield Finding("database.dead-rows", WARNING, fact, "see that autovacuum runs and that no old snapshot stops it")
    wants_standby, standbys = _pair(connection, _STANDBY)
    if not wants_standby:
        fact = "no synchronous standby: mail is as safe as the one disk of the database"
        yield Finding("database.no-standby", NOTE, fact, "set synchronous_standby_names if that is not enough")
    elif not standbys:
        fact = "no standby answers: no message can be accepted"
        yield Finding("database.no-standby", ERROR, fact, "start a standby of synchronous_standby_names")
    row = connection.execute("select extract(epoch from clock_timestamp())::float8").fetchone()
    apart = abs(float(str(row[0])) - time.time()) if row else 0.0
    if apart > MAX_CLOCK_S:
        fact = f"the clocks of this node and of the database are {int(apart)} s apart"
        yield Finding("database.clock", ERROR, fact, "set them by NTP: nodes compare times of next attempts")


def _pair(connection: "Connection", statement: str, *values: object) -> tuple[int, int]:
    row = connection.execute(statement, values or None).fetchone()
    assert row is not None
    first, second = row
    assert isinstance(first, int) and isinstance(second, int)
    return first, second
