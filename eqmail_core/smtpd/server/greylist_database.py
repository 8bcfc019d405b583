"""The database of greylisting: who waits for a second attempt, and who is known.  Blocks.

One SQLite file for all processes of the SMTP server. It is bounded: those who do not come back within a day, and those
who are silent for 36 days, are forgotten; with MAX_ENTRIES the oldest that wait are. A network or domain with
MAX_WAITING senders that wait is looked at as a whole, so that no flood pushes others out.

Fails: OSError and sqlite3.Error, which `check_greylist` turns into PASSED and a line in the log.
"""

import sqlite3
import time
from collections.abc import Callable
from typing import NamedTuple

from eqmail_core.smtpd.policy.greylisting import DEFERRED, PASSED
from eqmail_core.smtpd.policy.requests import CheckGreylist
from eqmail_core.system.repeated_lines import say_seldom

WINDOW_S = 86400
"""How long a first attempt counts."""

KNOWN_S = 36 * 86400
"""How long a sender is known after its last message."""

LEARN = 5
"""Senders that came back from a network or domain; then it is known as a whole."""

MAX_ENTRIES = 1_000_000
MAX_WAITING = 1000
EXPIRE_EVERY_S = 600

PAUSE_S = 10
"""How long senders are accepted after an error."""

_TOUCH_S = 3600
_BUSY_S = 5.0
_WHOLE = b"*"

_SCHEMA = """
create table if not exists attempt (
    origin blob, sender blob, recipient blob, first integer, seen integer, passed integer,
    primary key (origin, sender, recipient)
) without rowid;
create table if not exists known (origin blob primary key, count integer, seen integer) without rowid;
create index if not exists waiting on attempt (first) where passed = 0;
"""


class Attempt(NamedTuple):
    """A sender and a recipient of a network or domain; `passed`: messages after the delay, 0 while it waits."""

    origin: bytes
    sender: bytes
    recipient: bytes
    first: int
    seen: int
    passed: int


class KnownOrigin(NamedTuple):
    """A network or domain and how many of its senders came back."""

    origin: bytes
    senders: int
    seen: int


class GreylistDatabase:
    """One connection; opened at the first question, and again after an error."""

    def __init__(self, path: str, clock: Callable[[], float] = time.time, capacity: int = MAX_ENTRIES) -> None:
        self._path = path
        self._clock = clock
        self._capacity = capacity
        self._connection: sqlite3.Connection | None = None
        self._expires_at = self._paused_until = 0.0

    def check(self, request: CheckGreylist) -> bytes:
        """Return PASSED or DEFERRED, and note the attempt."""
        now = int(self._clock())
        if 0 < self._paused_until - now <= PAUSE_S:
            return PASSED
        database = self._opened()
        with database:
            if not 0 <= self._expires_at - now <= EXPIRE_EVERY_S:
                self._expire(database, now)
            return self._decide(database, request, now)

    def pause(self) -> None:
        """Accept everything for a while, because of an error."""
        self.close()
        self._paused_until = self._clock() + PAUSE_S

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def attempts(self) -> list[Attempt]:
        """Return everything that waits or has passed, the newest first."""
        rows = self._opened().execute(
            "select origin, sender, recipient, first, seen, passed from attempt order by seen desc"
        )
        return [Attempt(*row) for row in rows]

    def known_origins(self) -> list[KnownOrigin]:
        """Return the networks and domains whose senders came back, those with most of them first."""
        rows = self._opened().execute("select origin, count, seen from known order by count desc, origin")
        return [KnownOrigin(*row) for row in rows]

    def forget(self, text: bytes) -> int:
        """Forget an origin, or all entries of a sender or recipient; return how many entries that were."""
        with self._opened() as database:
            known = database.execute("delete from known where origin = ?", (text,)).rowcount
            found = "delete from attempt where origin = ? or sender = ? or recipient = ?"
            return known + database.execute(found, (text, text, text)).rowcount

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(self._path, timeout=_BUSY_S, check_same_thread=False)
            try:
                connection.execute("pragma journal_mode = wal")
                connection.execute("pragma synchronous = normal")
                connection.executescript(_SCHEMA)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _decide(self, database: sqlite3.Connection, request: CheckGreylist, now: int) -> bytes:
        origin = request.origin
        known = database.execute("select count, seen from known where origin = ?", (origin,)).fetchone()
        if known is not None and known[0] >= LEARN and known[1] > now - KNOWN_S:
            if not 0 <= now - known[1] < _TOUCH_S:
                database.execute("update known set seen = ? where origin = ?", (now, origin))
            return PASSED
        key = (origin, request.sender, request.recipient)
        found = self._attempt(database, key)
        if found is None and not request.only_looks and self._is_crowded(database, origin):
            key = (origin, _WHOLE, _WHOLE)
            found = self._attempt(database, key)
        if found is not None and found[2] and found[1] > now - KNOWN_S:
            if not 0 <= now - found[1] < _TOUCH_S:
                _update(database, "seen = ?, passed = passed + 1", key, now)
            return PASSED
        if found is not None and not found[2] and request.delay_s <= now - found[0] <= WINDOW_S:
            _update(database, "seen = ?, passed = 1", key, now)
            database.execute(
                "insert into known values (?, 1, ?) on conflict do update set count = count + 1, seen = excluded.seen",
                (origin, now),
            )
            return PASSED
        if not request.only_looks and (found is None or not 0 <= now - found[0] <= WINDOW_S):
            database.execute("insert or replace into attempt values (?, ?, ?, ?, ?, 0)", (*key, now, now))
        return DEFERRED

    def _attempt(self, database: sqlite3.Connection, key: tuple[bytes, bytes, bytes]) -> tuple[int, int, int] | None:
        row: tuple[int, int, int] | None = database.execute(
            "select first, seen, passed from attempt where origin = ? and sender = ? and recipient = ?", key
        ).fetchone()
        return row

    def _is_crowded(self, database: sqlite3.Connection, origin: bytes) -> bool:
        """Whether an origin has very many attempts: further ones count for it as a whole."""
        limited = "select count(*) from (select 1 from attempt where origin = ? limit ?)"
        (count,) = database.execute(limited, (origin, MAX_WAITING)).fetchone()
        return bool(count >= MAX_WAITING)

    def _expire(self, database: sqlite3.Connection, now: int) -> None:
        self._expires_at = now + EXPIRE_EVERY_S
        database.execute("delete from attempt where passed = 0 and first < ?", (now - WINDOW_S,))
        database.execute("delete from attempt where passed > 0 and seen < ?", (now - KNOWN_S,))
        database.execute("delete from known where seen < ?", (now - KNOWN_S,))
        for table, order in (("attempt", "passed, seen"), ("known", "seen")):
            (count,) = database.execute(f"select count(*) from {table}").fetchone()
            if count > self._capacity:
                key = "origin, sender, recipient" if table == "attempt" else "origin"
                database.execute(
                    f"delete from {table} where ({key}) in (select {key} from {table} order by {order} limit ?)",
                    (count - self._capacity,),
                )


def _update(database: sqlite3.Connection, change: str, key: tuple[bytes, bytes, bytes], now: int) -> None:
    database.execute(f"update attempt set {change} where origin = ? and sender = ? and recipient = ?", (now, *key))


def check_greylist(database: GreylistDatabase, request: CheckGreylist) -> bytes:
    """Return PASSED or DEFERRED; with trouble PASSED, for a while, and a line in the log."""
    try:
        return database.check(request)
    except (sqlite3.Error, OSError) as error:
        database.pause()
        say_seldom("qmail-smtpd", f"warning: greylisting: {error}; senders are accepted meanwhile")
        return PASSED
