"""The life of the queue service: recover, serve, and on TERM leave a queue of plain files.

It holds a lock below queue/journal/, so that two never work on one queue.

Fails: QueueServiceError before anything was changed; any bug ends the process, and its successor recovers.
"""

import asyncio
import os
import signal
import socket

from eqmail_core.control.controls import controls_in
from eqmail_core.event_loop.event_loop import begin_service, new_event_loop
from eqmail_core.event_loop.memory_trimmer import MemoryTrimmer
from eqmail_core.event_loop.signals import install_signal_handlers
from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.lock import QueueInUse, lock_journal
from eqmail_core.queue.service.limiter_opening import open_limiter
from eqmail_core.queue.service.listener import QueueListener
from eqmail_core.queue.service.opening import open_file_queue
from eqmail_core.queue.service.submission_context import SubmissionContext
from eqmail_core.service.readiness import tell_ready
from eqmail_core.site.site import Site
from eqmail_core.system.descriptor_limit import raise_descriptor_limit
from eqmail_core.system.files import read_file
from eqmail_core.system.log import log_line
from eqmail_core.system.role_ids import submitter_uids, uid_of

NAME = "qmail-queue"
SCHEDULER_GONE_S = 60.0
"""How long messages wait for a scheduler that disconnected before they become files."""

STOP_TIMEOUT_S = 20.0
"""How long after TERM the scheduler may take to disconnect."""

# Descriptors used at most, and those of them reserved for journal, memfds and open files, not for clients.
_MAX_DESCRIPTORS = 1 << 16
_OTHER_DESCRIPTORS = 300


class QueueServiceError(Exception):
    """Prevents the start of the service; its text says why."""


def run(site: Site, listener: socket.socket) -> None:
    """Serve the queue of `site` on a listening socket until TERM.

    Fails: QueueServiceError, PrivilegeError.
    """
    begin_service(site, "qmailq")
    os.umask(0o033)
    loop = new_event_loop()
    service = QueueService(site, listener, loop)
    install_signal_handlers(loop, {signal.SIGTERM: service.stop, signal.SIGHUP: lambda: None})
    tell_ready()
    try:
        loop.run_forever()
    finally:
        service.abandon()
        loop.close()
    if service.error is not None:
        raise service.error


class QueueService:
    """The queue service of one site on one loop; it serves from its construction on."""

    def __init__(self, site: Site, listener: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self.error: BaseException | None = None
        self._loop = loop
        self._lock = _lock(site)
        self._is_leaving = self._is_emptying = False
        controls = controls_in(site.control, read_file)
        disk, paths = FileSystem(), site.queue
        loop.set_exception_handler(self._on_unexpected_error)
        if site.queue_database:
            # Needs the library of the database, which is not everywhere.
            from eqmail_core.queue.postgres.opening import open_database_queue

            self._store, self._close_store = open_database_queue(NAME, site, loop, disk, controls)
        else:
            self._store, self._close_store = open_file_queue(NAME, site, loop, disk, controls)
        daemon, scheduler = uid_of(site, "qmaild"), uid_of(site, "qmails")
        context = SubmissionContext(
            disk,
            self._store,
            submitter_uids(site),
            {daemon, scheduler},
            controls.queueunfinished,
            max(raise_descriptor_limit(_MAX_DESCRIPTORS) - _OTHER_DESCRIPTORS, _OTHER_DESCRIPTORS),
            controls.queueperuser,
        )
        self._limiter = context.limiter = open_limiter(NAME, site, loop, context, controls)
        self._listener = QueueListener(
            NAME,
            loop,
            listener,
            self._store,
            context,
            controls.queueperuser,
            scheduler,
            paths.pid,
            self._scheduler_left,
        )
        loop.call_later(SCHEDULER_GONE_S, self._spill_if_away)
        MemoryTrimmer(loop, lambda: self._store.held)
        disk.pull_trigger(paths.trigger)

    @property
    def has_scheduler(self) -> bool:
        """Whether the scheduler is connected."""
        return self._listener.has_scheduler

    def abandon(self) -> None:
        """Close everything without writing; only what is on the disk counts."""
        self._close_store()
        self._listener.close_all()
        os.close(self._lock)

    def stop(self) -> None:
        """Stop accepting messages, and end when the scheduler has disconnected.

        Messages still held are then written as files.
        """
        if self._is_leaving:
            return
        self._is_leaving = True
        self._listener.close()
        if self._listener.has_scheduler:
            self._loop.call_later(STOP_TIMEOUT_S, self._listener.close_all)
        else:
            self._empty()

    def _scheduler_left(self) -> None:
        if self._is_leaving:
            if not self._is_emptying:
                self._empty()
        else:
            self._loop.call_later(SCHEDULER_GONE_S, self._spill_if_away)

    def _spill_if_away(self) -> None:
        if not self._listener.has_scheduler and not self._is_leaving and self._store.held:
            log_line(NAME, f"warning: no scheduler: {self._store.held} messages become files")
            self._store.spill()

    def _empty(self) -> None:
        self._is_emptying = True
        self._store.stop(self._emptied)

    def _emptied(self) -> None:
        if self._store.held:
            log_line(NAME, f"warning: {self._store.held} messages stay in the journal until the next start")
        self._limiter.close()
        self._listener.close_all()
        self._loop.stop()

    def _on_unexpected_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """End at once after a bug: state in memory is unreliable, the state on the disk is not."""
        error = context.get("exception")
        if self.error is None:
            self.error = error if isinstance(error, BaseException) else RuntimeError(str(context.get("message")))
        loop.stop()


def _lock(site: Site) -> int:
    try:
        return lock_journal(site.queue)
    except QueueInUse as error:
        raise QueueServiceError("another queue service works on this queue") from error
    except OSError as error:
        raise QueueServiceError(f"{site.queue.journal}: {error.strerror}") from error
