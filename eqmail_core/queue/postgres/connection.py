"""One connection to the database: made when it is needed, ended when it is in doubt, errors sorted by what they mean.

A transaction that is cut off while it waits for a standby is answered as a success with a warning (SQLSTATE 01000).
So any warning at a commit means that it is unknown.  A commit that waits for a standby that is away has no end, and no
time-out of the server ends it: `expire`, called from another thread, cuts the connection.

What was sent on a connection in doubt may still be on its way to the server, and be done later than what the next
connection asks.  So the next one first ends the session of the former, and is used when that is gone.

Fails: DatabaseAway, DatabaseError, CommitUnknown.
Source: docs/adr/0018-queue-on-postgresql.md.
"""

import os
import socket
from collections.abc import Callable, Sequence
from typing import TypeVar

import psycopg

from eqmail_core.queue.postgres.errors import CommitUnknown, DatabaseAway, DatabaseError
from eqmail_core.queue.postgres.schema import SchemaError, require_version

Row = tuple[object, ...]
Cursor = psycopg.Cursor[Row]
Result = TypeVar("Result")

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 15
SESSION_END_S = 5
"""Longest wait for the end of a former session; then the database counts as away."""

ANSWER_TIMEOUT_S = 20.0
"""Longest wait for the answer to a commit; then it is unknown."""

_SESSION = "select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()"
_END_SESSION = """
select pg_terminate_backend(pid, %b) from pg_stat_activity where pid = %b and backend_start = %b
"""

_SETTINGS = (
    f"-c statement_timeout={STATEMENT_TIMEOUT_S}s -c idle_in_transaction_session_timeout=10s -c lock_timeout=10s"
    " -c default_transaction_isolation=read\\ committed -c jit=off"
)


class DatabaseConnection:
    """A connection, used by one thread at a time.  `conninfo`: of libpq; `name`: shown by pg_stat_activity."""

    def __init__(self, conninfo: str, name: str) -> None:
        self._conninfo = conninfo
        self._name = name
        self._connection: psycopg.Connection[Row] | None = None
        self._warnings: list[str] = []
        self._session: Row | None = None
        self._doubtful: list[Row] = []

    def run(self, work: Callable[[Cursor], Result]) -> Result:
        """Run a transaction.  Each statement of `work` is one, unless it begins one.

        Fails: DatabaseAway; DatabaseError where the server refused; CommitUnknown.
        """
        connection = self._open()
        self._warnings.clear()
        try:
            with connection.cursor(binary=True) as cursor:
                result = work(cursor)
        except psycopg.Error as error:
            raise self._meaning(connection, error) from error
        if self._warnings:
            self._discard()
            raise CommitUnknown(self._warnings[0])
        return result

    def query(self, text: str, values: Sequence[object] = ()) -> list[Row]:
        """Run one statement; return its rows.  Fails: as `run`."""
        return self.run(lambda cursor: _fetch(cursor, text, values))

    def expire(self) -> None:
        """Cut the connection, from any thread: the thread that waits for an answer gets CommitUnknown."""
        connection = self._connection
        if connection is None or connection.closed:
            return
        try:
            with socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)
        except (OSError, psycopg.Error):
            pass

    def close(self) -> None:
        """End the connection; the next use makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _discard(self) -> None:
        """End a connection on which something may still be on its way."""
        if self._session is not None:
            self._doubtful.append(self._session)
            self._session = None
        self.close()

    def _open(self) -> psycopg.Connection[Row]:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        try:
            connection = connect(self._conninfo, self._name)
        except psycopg.Error as error:
            raise DatabaseAway(one_line(error)) from error
        try:
            require_version(connection)
            session = connection.execute(_SESSION, binary=True).fetchone()
            self._end_former(connection)
        except SchemaError as error:
            connection.close()
            raise DatabaseAway(str(error)) from error
        except psycopg.Error as error:
            connection.close()
            raise DatabaseAway(one_line(error)) from error
        connection.add_notice_handler(self._on_notice)
        self._connection, self._session = connection, session
        return connection

    def _end_former(self, connection: psycopg.Connection[Row]) -> None:
        """End the sessions in doubt, if this server has them.  Fails: DatabaseAway for one that does not end."""
        while self._doubtful:
            ended = connection.execute(
                _END_SESSION, (1000 * SESSION_END_S, *self._doubtful[-1]), binary=True
            ).fetchone()
            if ended is not None and not ended[0]:
                connection.close()
                raise DatabaseAway("an earlier session of this connection does not end")
            self._doubtful.pop()

    def _on_notice(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warnings.append(notice.message_primary or "a warning without a text")

    def _meaning(self, connection: psycopg.Connection[Row], error: psycopg.Error) -> DatabaseError:
        """Return what an error means: refused if the server said so on a connection that goes on, else unknown."""
        text = one_line(error)
        if error.sqlstate is None or connection.closed or self._warnings:
            self._discard()
            return CommitUnknown(text)
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            self.close()
        return DatabaseError(text)


def connect(conninfo: str, name: str) -> psycopg.Connection[Row]:
    """Connect to a database that can be written to.  Fails: psycopg.Error."""
    defaults: dict[str, str | int] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "target_session_attrs": "read-write",
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 15_000,
    }
    given = psycopg.conninfo.conninfo_to_dict(conninfo)
    fixed = {"application_name": name, "options": f"{given.get('options') or ''} {_SETTINGS}".strip()}
    merged = {name: str(value) for name, value in (defaults | given | fixed).items() if value is not None}
    return psycopg.connect(psycopg.conninfo.make_conninfo("", **merged), autocommit=True)


def one_line(error: BaseException) -> str:
    """Return the text of an error of the database in one line, without what follows."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _fetch(cursor: Cursor, text: str, values: Sequence[object]) -> list[Row]:
    cursor.execute(text, values or None)
    return cursor.fetchall() if cursor.description is not None else []
