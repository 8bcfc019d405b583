"""The user database users/cdb: lookups as in qmail-lspawn, compilation from users/assign.

Source: delivery.md 5.1 (qmail-lspawn.c, qmail-newu.c).
"""

import os

from eqmail_core.system.cdb import CdbDamaged, CdbReader, open_cdb, write_cdb
from eqmail_core.users.assign_file import database_records
from eqmail_core.users.lookup import find_in_database
from eqmail_core.users.user import LOOKUP_DATABASE, LookupFailed, User

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from eqmail_core.site.site import Site


def database_path(site: "Site") -> str:
    """Return the path of the user database."""
    return f"{site.users}/cdb"


def assign_path(site: "Site") -> str:
    """Return the path of users/assign, the source of the database."""
    return f"{site.users}/assign"


def find_user(site: "Site", local: bytes) -> User | None:
    """Return the user of `local` in the database.

    None if the database does not exist or has no entry; qmail-getpw decides then.
    The file is opened for every lookup, so that a new database takes effect at once.
    Fails: LookupFailed(117) if the database is damaged or unreadable;
    LookupFailed(112) for an entry without six fields.
    """
    try:
        database = open_cdb(database_path(site))
        if database is None:
            return None
        with database:
            return find_in_database(database.get, local)
    except (OSError, CdbDamaged) as error:
        raise LookupFailed(LOOKUP_DATABASE) from error


class KeptDatabase:
    """The user database of a resident service, kept open until the file changes."""

    def __init__(self, site: "Site") -> None:
        self._path = database_path(site)
        self._database: CdbReader | None = None
        self._seen: tuple[int, ...] = ()

    def find(self, local: bytes) -> User | None:
        """Do `find_user`; a replaced or modified database takes effect at once."""
        try:
            self._look()
            return None if self._database is None else find_in_database(self._database.get, local)
        except (OSError, CdbDamaged) as error:
            self.close()
            raise LookupFailed(LOOKUP_DATABASE) from error

    def close(self) -> None:
        """Close the file; the next lookup opens it again."""
        if self._database is not None:
            self._database.close()
        self._database = None
        self._seen = ()

    def _look(self) -> None:
        """Open the database again if the file has changed."""
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            self.close()
            return
        seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if seen != self._seen:
            self.close()
            self._database = open_cdb(self._path)
            self._seen = seen


def compile_users(site: "Site", assign: "Iterable[bytes]") -> None:
    """Replace the database by one compiled from the lines of users/assign.

    A concurrent lookup sees the old or the new database, never a part.
    Fails: BadAssign, CdbNotWritten; OSError from reading the lines.  The old database stays in each case.
    """
    path = database_path(site)
    write_cdb(path, f"{path}.tmp", database_records(assign))
