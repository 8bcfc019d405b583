"""Opens a queue that is kept in a journal and files: recovers what an earlier process left, and says what it found.

Fails: OSError.
"""

import asyncio
import os
import time
from collections.abc import Callable

from eqmail_core.control.controls import Controls
from eqmail_core.control.delivery_settings import EACH, TOGETHER
from eqmail_core.event_loop.worker_thread import WorkerThread
from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.format.journal_damage import describe_damage
from eqmail_core.queue.service.journal import Journal
from eqmail_core.queue.service.message_store import MessageStore
from eqmail_core.queue.service.number_pool import NumberPool
from eqmail_core.queue.service.ports import MessageStorePort
from eqmail_core.queue.service.recovery import RecoveryResult, recover
from eqmail_core.site.site import Site
from eqmail_core.system.log import log_line
from eqmail_core.system.repeated_lines import say_seldom

SERIALS_PER_S = 1 << 24
"""Serials begin at the clock times this, so that they stay unique even when the journal was removed."""


class LoopClock:
    """An event loop as the message store sees it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.soon = loop.call_soon
        self.later = loop.call_later


def open_file_queue(
    name: str, site: Site, loop: asyncio.AbstractEventLoop, disk: FileSystem, controls: Controls
) -> tuple[MessageStorePort, Callable[[], None]]:
    """Return the store of a queue in its directory, and what ends its threads.  `name`: begins the lines of its log."""
    paths, durability = site.queue, controls.queuedurability
    journal, pool = Journal(disk, paths.journal, epoch=int.from_bytes(os.urandom(4))), NumberPool(disk, paths)
    workers = (
        WorkerThread("journal", loop.call_soon_threadsafe),
        WorkerThread("files", loop.call_soon_threadsafe),
    )
    store = MessageStore(
        disk,
        paths,
        pool,
        journal,
        workers,
        LoopClock(loop),
        controls.queuememory,
        goes_direct=durability in (EACH, TOGETHER),
        limit=1 if durability == EACH else 200,
    )
    store.on_problem = lambda what, error: say_seldom(
        name, f"alert: {what}: {error.strerror}; new mail is refused for now, other mail is tried again"
    )
    report(name, recover(disk, paths, pool, journal, store, int(time.time()) * SERIALS_PER_S))
    try:
        journal.prepare()
    except OSError as error:
        log_line(name, f"warning: cannot make the journal's files: {error.strerror}; will try again")

    def close() -> None:
        for worker in workers:
            worker.stop()

    return store, close


def report(name: str, found: RecoveryResult) -> None:
    """Print what recovery found, if anything."""
    if found.live or found.queued or found.renumbered:
        log_line(
            name,
            f"info: recovered {found.live} messages from the journal, {found.renumbered} more under new numbers; "
            f"{found.queued} had become files",
        )
    if found.misnumbered:
        log_line(
            name,
            f"warning: {found.misnumbered} messages have numbers that are not the inode numbers of their files: copied "
            "or restored; they are delivered, no new message gets such a number, and `eqmail check --fix` mends them",
        )
    for damaged in found.damaged:
        weight, text = describe_damage(damaged)
        what = f"; the file will be kept as damaged.{damaged.epoch}" if damaged.is_worth_keeping else ""
        log_line(name, f"{weight}: {text}{what}")
    for number in found.lost:
        log_line(name, f"alert: msg {number}: the file with its body is gone")
