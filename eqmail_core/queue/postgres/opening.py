"""Opens a queue that is in a PostgreSQL database.

The start never waits for the database: until it answers, new mail is refused for now.

Fails: OSError where files of an earlier process cannot be removed.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable

from eqmail_core import VERSION
from eqmail_core.control.controls import Controls
from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.postgres.database import NodeIdentity
from eqmail_core.queue.postgres.store import PostgresStore
from eqmail_core.queue.postgres.worker import DatabaseWorker
from eqmail_core.queue.service.opening import LoopClock
from eqmail_core.queue.service.ports import MessageStorePort
from eqmail_core.site.site import Site
from eqmail_core.system.repeated_lines import say_seldom


def open_database_queue(
    name: str, site: Site, loop: asyncio.AbstractEventLoop, disk: FileSystem, controls: Controls
) -> tuple[MessageStorePort, Callable[[], None]]:
    """Return the store of a queue in the database of `site`, and what ends its threads.

    `name`: begins the lines of its log.
    """
    node = os.fsdecode(controls.queuenode or b"") or socket.gethostname()
    identity = NodeIdentity()

    def make_worker(purpose: str) -> DatabaseWorker:
        application = f"eqmail {node} {purpose}"
        return DatabaseWorker(application, site.queue_database, identity, loop.call_soon_threadsafe, loop.call_later)

    store = PostgresStore(
        make_worker,
        identity,
        node,
        VERSION,
        disk,
        site.queue,
        LoopClock(loop),
        controls.queuememory,
        lambda text: say_seldom(name, text),
        time.time,
    )
    return store, store.close
