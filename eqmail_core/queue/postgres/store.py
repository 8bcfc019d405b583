"""All messages that this node has of a queue in PostgreSQL: the counterpart of `queue.service.message_store`.

    STORING    sent to the database; answered when the commit is certain
    OWNED      stored as this node's, and at the scheduler
    DEFERRING  its next attempt is being written, and the ownership given up
    ENDED      every recipient is done; its row is being removed

A message is answered only after its commit, and withdrawn where that is unknown (`message_writer`).  So a message that
was refused is delivered at most if this node dies before that.

The node acts only while its lease lasts.  When the lease is over or another node took over, the scheduler drops what it
holds, and a new epoch begins with an empty hand.

Long because every event changes the same states.

Fails: never; an error of the database is an exit code of qmail-queue for a new message, and is retried for all else.
Source: docs/adr/0018-queue-on-postgresql.md.
"""

import os
from collections.abc import Callable, Collection
from functools import partial

from eqmail_core.event_loop.worker_thread import Call
from eqmail_core.ipc.admission_protocol import LEASED, LOST, MAX_ENVELOPE, PAUSED, Deferred
from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.format import exit_codes as q
from eqmail_core.queue.postgres.claims import Claims
from eqmail_core.queue.postgres.database import NodeIdentity
from eqmail_core.queue.postgres.long_bodies import remove, remove_all, spool_path
from eqmail_core.queue.postgres.membership import Membership, MembershipEvents
from eqmail_core.queue.postgres.message_writer import MessageWriter
from eqmail_core.queue.postgres.number_supply import NumberSupply
from eqmail_core.queue.postgres.releases import Releases
from eqmail_core.queue.postgres.stored_message import Claimed
from eqmail_core.queue.postgres.worker import DatabaseWorker
from eqmail_core.queue.service.accepted_message import AcceptedMessage
from eqmail_core.queue.service.ports import Clock, SchedulerLink, SubmissionAnswer
from eqmail_core.queue.spool import clean
from eqmail_core.site.layout import QueuePaths
from eqmail_core.system.lease_file import LeaseWriter

WRITERS = 4

STORING, OWNED, DEFERRING, ENDED = range(4)
"""States of a message."""


class PostgresStore:
    """The messages of this node.  `report(text)` logs a line, seldom if it repeats; `budget`: bytes that may wait.

    `make_worker(name)` makes a connection with its thread; `wall_clock()` is in seconds since the epoch.
    """

    def __init__(
        self,
        make_worker: Callable[[str], DatabaseWorker],
        identity: NodeIdentity,
        name: str,
        software: str,
        disk: FileSystem,
        paths: QueuePaths,
        clock: Clock,
        budget: int,
        report: Callable[[str], object],
        wall_clock: Callable[[], float],
    ) -> None:
        self._disk = disk
        self._paths = paths
        self._budget = budget
        self._report = report
        self._identity = identity
        self._link: SchedulerLink | None = None
        self._held: dict[int, AcceptedMessage] = {}
        self._stopped: Call | None = None
        writers = [make_worker(f"writer {n}") for n in range(WRITERS)]
        releaser, claimer, bodies, lease = map(make_worker, ("deferrals", "claims", "bodies", "lease"))
        self._workers = [*writers, releaser, claimer, bodies, lease]
        events = MembershipEvents(
            self._begun,
            partial(self._tell_lease, PAUSED),
            self._resumed,
            self._lost,
            lambda: len(self._held),
            self._report,
        )
        self._lease_file = LeaseWriter(paths.lease)
        self.membership = Membership(lease, identity, clock, name, software, events, self._lease_file.write)
        is_held = self._held.__contains__
        self._numbers = NumberSupply(claimer, lambda: self.membership.is_active)
        self._writer = MessageWriter(
            writers,
            bodies,
            identity,
            clock,
            paths.pid,
            self._stored,
            self._forget,
            is_held,
            self._continue_stopping,
            report,
        )
        self._releases = Releases(releaser, clock, self._forget, is_held, self._continue_stopping)
        self._claims = Claims(
            claimer,
            identity,
            clock,
            paths.pid,
            self.membership,
            self._may_claim,
            self._take,
            self._release,
            is_held,
            report,
            wall_clock,
        )
        remove_all(paths.pid)
        self.membership.begin()

    @property
    def held(self) -> int:
        """Count the messages that this node has."""
        return len(self._held)

    def close(self) -> None:
        """End the lease, all threads and connections."""
        self._lease_file.close()
        for worker in self._workers:
            worker.stop()

    # Acceptance.

    def take_number(self) -> int:
        """Return a number for a new message.  Fails: OSError while the database gives none."""
        return self._numbers.take()

    def release_number(self, number: int, is_written: bool = True) -> None:
        """Discard an unused number and its file."""
        self._remove_file(number)

    def path_for(self, number: int) -> str:
        """Return the path of the file for a long body; the file is there."""
        path = spool_path(self._paths.pid, number)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
        return path

    def accept(self, message: AcceptedMessage, answer: SubmissionAnswer) -> None:
        """Store a new message; `answer(code, message)` follows, with code 0 once it is safe."""
        message.serial = message.number
        if (
            not self.membership.is_active
            or self._stopped is not None
            or self._writer.weight + message.weight > self._budget
            or len(message.envelope) > MAX_ENVELOPE
        ):
            self._remove_file(message.number)
            answer(q.NO_MEMORY if len(message.envelope) > MAX_ENVELOPE else q.WRITE_ERROR, message)
            return
        message.state = STORING
        self._writer.store(message, answer)

    def _stored(self, message: AcceptedMessage) -> None:
        message.state = OWNED
        self._held[message.number] = message
        self._hand_over(message, None)

    # Scheduler.

    def scheduler_connected(self, link: SchedulerLink, still_held: Collection[int]) -> None:
        """Take back what an earlier scheduler had and this one has not; it comes as claimed messages."""
        self._link = link
        self._release(
            [number for number, message in self._held.items() if message.state == OWNED and number not in still_held]
        )
        link.set_lease(LEASED if self.membership.is_active else PAUSED, self._identity.epoch)
        self._claims.claim()

    def scheduler_disconnected(self, link: SchedulerLink) -> None:
        """Keep what it held for its return; new messages are given back until then."""
        if self._link is link:
            self._link = None
            self._releases.reset()

    def delivered(self, serial: int) -> None:
        """End a message whose every recipient is done."""
        message = self._held.get(serial)
        if message is not None and message.state == OWNED:
            message.state = ENDED
            self._writer.remove(serial)

    def add_reports(self, serial: int, piece: bytes) -> None:
        """Take a piece of the reports of failed recipients, before `defer`."""
        if serial in self._held:
            self._releases.add_reports(serial, piece)

    def defer(self, deferred: Deferred, answer: Callable[[bool], None]) -> None:
        """Give a message back, to be tried again; `answer` follows when the database has it."""
        message = self._held.get(deferred.serial)
        if message is None or message.state != OWNED:
            self._releases.discard_reports(deferred.serial)
            answer(False)
            return
        message.state = DEFERRING
        self._releases.defer(message.envelope, deferred, answer)

    def needs_spill(self, serial: int, answer: Callable[[bool], None]) -> None:
        """Answer no: there are no files to become."""
        answer(False)

    def spilled(self, serial: int) -> None:
        """Do nothing: there are no files to become."""

    def clean(self, request: bytes, answer: Callable[[bytes], None]) -> None:
        """Do what qmail-clean does, for messages that were queued as files."""
        answer(clean(self._disk, self._paths, request)[:1])

    def _hand_over(self, message: AcceptedMessage, earlier: Claimed | None) -> None:
        if self._link is None or self._stopped is not None:
            self._release([message.number])
            return
        message.scheduler = self._link
        self._link.admit(message, earlier)

    def handed_over(self, message: AcceptedMessage) -> None:
        """Drop the body of a message, which the scheduler has now; a file keeps its name, as deliverers demand."""
        if message.body is not None:
            message.body = b""

    def _forget(self, number: int) -> None:
        message = self._held.pop(number, None)
        self._claims.held.discard(number)
        self._releases.discard_reports(number)
        if message is not None and message.body is None:
            self._remove_file(number)

    def _release(self, numbers: list[int]) -> None:
        """Give messages back as they are."""
        for number in numbers:
            if number in self._held:
                self._held[number].state = DEFERRING
        self._releases.release(numbers)

    def _may_claim(self) -> bool:
        return self._stopped is None and self._link is not None and self.membership.is_active

    def _take(self, claimed: Claimed) -> None:
        """Note a claimed message, and pass it on."""
        message = AcceptedMessage(
            claimed.id, claimed.birth, claimed.uid, claimed.qp, claimed.envelope, claimed.body, claimed.size
        )
        message.serial, message.state = claimed.id, OWNED
        self._held[claimed.id] = message
        self._claims.held.add(claimed.id)
        self._hand_over(message, claimed)

    # The lease.

    def _begun(self) -> None:
        self._numbers.fill()
        self._tell_lease(LEASED)
        self._writer.begin()
        self._claims.claim()

    def _tell_lease(self, state: bytes) -> None:
        if self._link is not None:
            self._link.set_lease(state, self._identity.epoch)

    def _resumed(self) -> None:
        self._tell_lease(LEASED)
        self._claims.claim()

    def _lost(self) -> None:
        """Drop everything: it belongs to others now."""
        for number in list(self._held):
            self._forget(number)
        self._releases.reset()
        self._tell_lease(LOST)

    # End.

    def spill(self) -> int:
        """Give all messages back; return how many."""
        some = [number for number, message in self._held.items() if message.state == OWNED]
        self._release(some)
        return len(some)

    def stop(self, then: Call) -> None:
        """Give all messages back, end the lease, and call `then`."""
        self._stopped, self._link = then, None
        self.spill()
        self._continue_stopping()

    def _continue_stopping(self) -> None:
        if self._stopped is None or not self._releases.is_idle or not self._writer.is_idle:
            return
        if self._held and self.membership.is_active:
            return
        then, self._stopped = self._stopped, _nothing
        if then is not _nothing:
            self.membership.end(then)

    def _remove_file(self, number: int) -> None:
        remove(self._paths.pid, number, self._report)


def _nothing() -> None:
    """Do nothing."""
