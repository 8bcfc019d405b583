"""Counts of identical rows by day and domain, and to whom reports were sent: one SQLite file for each kind of report.

Any number of processes of one account count at a time. A count may be lost with the power; nothing else depends on it.

Fails: StoreError.
Source: docs/mail-authentication.md.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

DAY_S = 86400

MAX_ROWS, MAX_ROWS_OF_DOMAIN, MAX_ROW_BYTES = 100_000, 10_000, 8192
"""Most different rows of a day, of these most of one domain, and the longest row; further ones are not counted."""

MAX_DAYS = 8
"""Days that are kept; a report that could not be sent until then is dropped."""

SUPPRESSED_S = 30 * DAY_S
"""How long an address gets no report after one came back, in seconds."""

BUSY_S = 0.25
"""How long a process that counts waits for another, in seconds."""

_TABLES = """
CREATE TABLE IF NOT EXISTS counted (
    day INTEGER, domain TEXT, subject TEXT, row TEXT, n INTEGER, PRIMARY KEY (day, domain, subject, row)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS totals (day INTEGER, domain TEXT, n INTEGER, PRIMARY KEY (day, domain)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sent (day INTEGER, domain TEXT, address TEXT, at INTEGER, result TEXT);
CREATE TABLE IF NOT EXISTS suppressed (address TEXT PRIMARY KEY, until INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS secret (text TEXT);
"""
_ALL = ""
"""The domain under which the rows of all domains of a day are counted."""


class StoreError(Exception):
    """The file cannot be used now, or at all; the text says why."""


class ReportStore:
    """The open file at `path`, which is made if its folder exists; `close` it."""

    def __init__(self, path: str, busy_s: float = BUSY_S) -> None:
        with _as_store_error(path):
            self._path = path
            self._database = sqlite3.connect(path, timeout=busy_s, isolation_level=None)
            os.chmod(path, 0o600)
            self._database.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {_TABLES}")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def count(self, now: float, domain: str, subject: str, row: str) -> bool:
        """Count a row once more; False where a limit does not admit a new one.

        `subject`: what all rows of a report have in common.
        """
        day = int(now) // DAY_S
        if len(row) + len(subject) > MAX_ROW_BYTES:
            return False
        with self._transaction() as database:
            key = (day, domain, subject, row)
            update = "UPDATE counted SET n = n + 1 WHERE day = ? AND domain = ? AND subject = ? AND row = ?"
            if database.execute(update, key).rowcount:
                return True
            known = dict(
                database.execute("SELECT domain, n FROM totals WHERE day = ? AND domain IN (?, ?)", (*key[:2], _ALL))
            )
            if known.get(_ALL, 0) >= MAX_ROWS or known.get(domain, 0) >= MAX_ROWS_OF_DOMAIN:
                return False
            if _ALL not in known:
                for table in ("counted", "totals", "sent"):
                    database.execute(f"DELETE FROM {table} WHERE day <= ?", (day - MAX_DAYS,))
            database.execute("INSERT INTO counted VALUES (?, ?, ?, ?, 1)", key)
            raise_total = "INSERT INTO totals VALUES (?, ?, 1) ON CONFLICT (day, domain) DO UPDATE SET n = n + 1"
            database.executemany(raise_total, [(day, domain), (day, _ALL)])
        return True

    def due(self, now: float) -> list[tuple[int, str]]:
        """Return the days that are over, each with a domain about which there are rows, in order."""
        today = int(now) // DAY_S
        with self._transaction() as database:
            found = database.execute("SELECT DISTINCT day, domain FROM counted WHERE day < ? ORDER BY 1, 2", (today,))
            return [(int(day), str(domain)) for day, domain in found]

    def rows(self, day: int, domain: str) -> list[tuple[str, str, int]]:
        """Return the subject, the row and the count of each row about a domain."""
        with self._transaction() as database:
            query = "SELECT subject, row, n FROM counted WHERE day = ? AND domain = ? ORDER BY subject, n DESC, row"
            return [(str(subject), str(row), int(n)) for subject, row, n in database.execute(query, (day, domain))]

    def overview(self) -> list[tuple[int, str, int]]:
        """Return each day and domain with the number of messages that are counted."""
        with self._transaction() as database:
            found = database.execute("SELECT day, domain, SUM(n) FROM counted GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2")
            return [(int(day), str(domain), int(n)) for day, domain, n in found]

    def finish(self, day: int, domain: str, now: float, results: list[tuple[str, str]]) -> None:
        """Remove the rows of a report, and note the result for each address that it was for."""
        with self._transaction() as database:
            database.execute("DELETE FROM counted WHERE day = ? AND domain = ?", (day, domain))
            rows = [(day, domain, address, int(now), result) for address, result in results]
            database.executemany("INSERT INTO sent VALUES (?, ?, ?, ?, ?)", rows)

    def sent(self) -> list[tuple[int, str, str, int, str]]:
        """Return day, domain, address, time and result of the last reports."""
        with self._transaction() as database:
            found = database.execute("SELECT day, domain, address, at, result FROM sent ORDER BY at, domain, address")
            return [(int(day), str(it), str(to), int(at), str(result)) for day, it, to, at, result in found]

    def suppress(self, address: str, now: float) -> None:
        """Send nothing to an address for a while."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO suppressed VALUES (?, ?)", (address, int(now) + SUPPRESSED_S))

    def suppressed(self, now: float) -> dict[str, int]:
        """Return the addresses that get nothing, and until when."""
        with self._transaction() as database:
            database.execute("DELETE FROM suppressed WHERE until <= ?", (int(now),))
            return {str(address): int(until) for address, until in database.execute("SELECT * FROM suppressed")}

    def secret(self) -> bytes:
        """Return a secret of this file, made at first use."""
        with self._transaction() as database:
            found = database.execute("SELECT text FROM secret").fetchone()
            if found is None:
                found = (os.urandom(24).hex(),)
                database.execute("INSERT INTO secret VALUES (?)", found)
            return str(found[0]).encode()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _as_store_error(self._path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")


@contextmanager
def _as_store_error(path: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{path}: {error}") from error
