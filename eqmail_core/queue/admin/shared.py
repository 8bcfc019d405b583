"""The queue that nodes share, as tools see it: one connection to the database, as the account of the queue service.

Fails: OSError, with what the database said.
"""

import os
import pwd

from eqmail_core.queue.routing import Routes
from eqmail_core.system.installation import read_controls
from eqmail_core.system.privileges import TemporaryIdentity
from eqmail_core.system.role_ids import uid_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeVar

    import psycopg

    from eqmail_core.queue.admin.messages import QueuedMessage
    from eqmail_core.site.site import Site

    T = TypeVar("T")
    Connection = psycopg.Connection[tuple[object, ...]]


class SharedQueue:
    """The messages of a shared queue."""

    def __init__(self, site: "Site") -> None:
        controls = read_controls(site)
        virtual = controls.virtualdomains or {}
        self._routes = Routes(controls.envnoathost, controls.locals or (), controls.percenthack or (), virtual)
        self._connection = connect_as_queue_account(site)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def messages(self, only: list[int] | None = None, node: str | None = None) -> "Iterator[QueuedMessage]":
        """Yield all messages, or those of `only`, or those at `node`."""
        from eqmail_core.queue.postgres.admin import shared_messages

        yield from shared_messages(self._connection, lambda address: self._routes.route(address)[0], node, only)

    def texts(self, number: int) -> "tuple[Iterator[bytes], bytes] | None":
        """Return a message in pieces, and the reports of its failed recipients; None where it is not there."""
        from eqmail_core.queue.postgres.admin import texts_of

        return texts_of(self._connection, number)

    def count(self) -> int:
        """Count the messages."""
        from eqmail_core.queue.postgres.admin import count_shared

        return count_shared(self._connection)

    def change(self, verb: bytes, numbers: list[int]) -> "Iterator[tuple[int, bytes]]":
        """Change messages; yield number and result of each, as the scheduler's control does."""
        from eqmail_core.queue.postgres.admin import change_shared

        yield from change_shared(self._connection, verb, numbers, self._routes.original_address)


def open_shared_queue(site: "Site") -> SharedQueue | None:
    """Connect to the shared queue of a site; None where its queue is in the directory.  Fails: OSError."""
    return SharedQueue(site) if site.queue_database else None


def connect_as_queue_account(site: "Site", conninfo: str = "") -> "Connection":
    """Connect as the account of the queue service, whose login the database knows; by default to that of the site.

    Fails: OSError.
    """
    import psycopg

    from eqmail_core.queue.postgres.connection import connect, one_line
    from eqmail_core.queue.postgres.errors import DatabaseAway

    conninfo = conninfo or site.queue_database
    try:
        if os.geteuid() != 0 or site.single_user:
            return connect(conninfo, "eqmail command")
        uid = uid_of(site, "qmailq")
        with TemporaryIdentity(uid, pwd.getpwuid(uid).pw_gid):
            return connect(conninfo, "eqmail command")
    except psycopg.Error as error:
        raise DatabaseAway(one_line(error)) from error
