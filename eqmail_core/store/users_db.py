"""The user database: users/cdb looked up as the spawner does, and made from users/assign.

Source: delivery.md 5.1 (qmail-lspawn.c, qmail-newu.c).
"""

from eqmail_core.formats.assign import database_records
from eqmail_core.policy.users import find_in_database
from eqmail_core.store.cdb import CdbDamaged, open_cdb, write_cdb
from eqmail_core.values.user import LOOKUP_DATABASE, LookupFailed, User

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from eqmail_core.values.site import Site


def database_path(site: "Site") -> str:
    """Where an installation keeps its user database."""
    return f"{site.users}/cdb"


def assign_path(site: "Site") -> str:
    """Where an installation keeps the text that the database is made from."""
    return f"{site.users}/assign"


def find_user(site: "Site", local: bytes) -> User | None:
    """The user whom the database gives `local` to; None where qmail-getpw must be asked (or there is no database).

    The file is opened anew for every look-up, so that a new database counts at once.
    Fails: LookupFailed(117) when the database is damaged or cannot be read, LookupFailed(112) for an entry without
    its six fields.
    """
    try:
        database = open_cdb(database_path(site))
        if database is None:
            return None
        with database:
            return find_in_database(database.get, local)
    except (OSError, CdbDamaged) as error:
        raise LookupFailed(LOOKUP_DATABASE) from error


def compile_users(site: "Site", assign: "Iterable[bytes]") -> None:
    """Make the database anew from the lines of users/assign; look-ups see the old or the new one, never a part.

    Fails: BadAssign, CdbNotWritten; OSError from reading the lines.  The old database stays in each case.
    """
    path = database_path(site)
    write_cdb(path, f"{path}.tmp", database_records(assign))
