"""Moves a whole queue between its directory and the database that nodes share, while the services are stopped.

Fails: EqmailError, with what is to be done first.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from eqmail_core.queue.admin.journal_status import live_messages
from eqmail_core.queue.admin.shared import connect_as_queue_account
from eqmail_core.queue.admin.transfer import TransferLog, survey_queue
from eqmail_core.queue.lock import QueueInUse, lock_scheduling
from eqmail_core.queue.routing import Routes
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from eqmail_setup.errors import EqmailError, permission_required
from eqmail_setup.queue.nodes import database_errors
from eqmail_setup.transaction.history import HISTORY_FOLDER

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[object, ...]]

STOP = ("eqmail", "service", "stop")
START = ("eqmail", "service", "start")
_LOG = "queue-postgresql"
_SCRATCH = "queue-postgresql.files"


class Relocation(NamedTuple):
    """What was moved, or would be; `problems`: a line for each message that stays."""

    messages: int
    problems: list[str]


def count_in_directory(site: Site) -> int:
    """Count the messages of the queue directory."""
    with _queue_of(site):
        return len(survey_queue(site).messages)


def count_in_database(site: Site) -> int:
    """Count the messages of the database of a site."""
    with _database(site, site.queue_database) as connection:
        row = connection.execute("select count(*) from message").fetchone()
    return int(str(row[0])) if row else 0


def check_database(site: Site, conninfo: str) -> None:
    """Check that a database has the tables of a queue."""
    with _database(site, conninfo):
        pass


def move_to_database(site: Site, conninfo: str, on_progress: Callable[[int], None]) -> Relocation:
    """Move every message of the queue directory into a database."""
    from eqmail_core.queue.postgres.move_in import move_into_database

    problems: list[str] = []
    with _queue_of(site), _database(site, conninfo) as connection:
        moved = move_into_database(
            survey_queue(site).messages,
            site.queue,
            _routes(site),
            connection,
            on_progress,
            lambda message, text: problems.append(f"{message.files['mess']}: {text}; it stays"),
        )
    return Relocation(moved, problems)


def move_to_directory(site: Site, on_progress: Callable[[int], None]) -> Relocation:
    """Move every message of the database of a site into its queue directory."""
    from eqmail_core.queue.postgres.move_out import NodesRunning, move_into_directory

    history = f"{site.home}/{HISTORY_FOLDER}"
    with _queue_of(site), _database(site, site.queue_database) as connection:
        os.makedirs(history, 0o700, exist_ok=True)
        log = TransferLog(f"{history}/{_LOG}")
        try:
            moved = move_into_directory(
                connection, site.queue, _routes(site), log, f"{history}/{_SCRATCH}", on_progress
            )
        except NodesRunning as error:
            raise EqmailError(f"nodes use the database: {error}; stop their services first", hint=STOP) from None
    return Relocation(moved, [])


def _routes(site: Site) -> Routes:
    controls = read_controls(site)
    virtual = controls.virtualdomains or {}
    return Routes(controls.envnoathost, controls.locals or (), controls.percenthack or (), virtual)


@contextmanager
def _queue_of(site: Site) -> Iterator[None]:
    """Have the queue directory of stopped services."""
    try:
        lock = lock_scheduling(site.queue)
    except QueueInUse:
        raise EqmailError(f"the services of {site.home} are running; stop them first", hint=STOP) from None
    except PermissionError as error:
        raise permission_required(f"the queue of {site.home} is accessible to root only") from error
    try:
        left = live_messages(site.queue.journal)
        if left:
            problem = f"{left} messages are only in the journal, because the services were not stopped in order"
            raise EqmailError(f"{problem}; start and stop them once", hint=START)
        yield
    finally:
        os.close(lock)


@contextmanager
def _database(site: Site, conninfo: str) -> Iterator["Connection"]:
    """Connect to a database with the tables of a queue."""
    with database_errors():
        from eqmail_core.queue.postgres.schema import require_version

        with connect_as_queue_account(site, conninfo) as connection:
            require_version(connection)
            yield connection
