"""All messages that this node has of a queue in PostgreSQL: the counterpart of `queue.service.message_store`.

    STORING    sent to the database; answered when the commit is certain
    OWNED      stored as this node's, and at the scheduler
    DEFERRING  its next attempt is being written, and the ownership given up
    ENDED      every recipient is done; its row is being removed

A message is answered only after its commit.  Where that is unknown the client gets a 4xx, and the message is
withdrawn: removed as soon as the database says what became of it.  So a message that was refused is delivered at most
if this node dies before that.

The node acts only while its lease lasts.  When the lease is over or another node took over, the scheduler drops what it
holds, and a new epoch begins with an empty hand.

Long because it is one machine; its parts would have to know all of its states.

Fails: never; an error of the database is an exit code of qmail-queue for a new message, and is retried for all else.
Source: docs/adr/0018-queue-on-postgresql.md.
"""

import os
from collections import deque
from collections.abc import Callable, Collection
from functools import partial

from eqmail_core.event_loop.worker_thread import Batcher, Call
from eqmail_core.ipc.admission_protocol import LEASED, LOST, MAX_ENVELOPE, PAUSED, unpack_done
from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.format import exit_codes as q
from eqmail_core.queue.postgres.claims import Claims
from eqmail_core.queue.postgres.database import BLOCK, NewMessage, NodeIdentity
from eqmail_core.queue.postgres.errors import CommitUnknown
from eqmail_core.queue.postgres.homes import home_of
from eqmail_core.queue.postgres.long_bodies import remove_all, spool_path, upload
from eqmail_core.queue.postgres.membership import Membership, MembershipEvents
from eqmail_core.queue.postgres.stored_message import Claimed, Deferral
from eqmail_core.queue.postgres.worker import DatabaseWorker
from eqmail_core.queue.service.accepted_message import AcceptedMessage
from eqmail_core.queue.service.ports import Clock, SchedulerLink, SubmissionAnswer
from eqmail_core.queue.spool import clean
from eqmail_core.site.layout import QueuePaths

WRITERS = 4
GROUP = 64
RETRY_S = 2.0
SWEEP_EVERY_S = 600.0

STORING, OWNED, DEFERRING, ENDED = range(4)
"""States of a message."""


class _New:
    """A message on its way into the database."""

    __slots__ = ("answer", "chunks", "message")

    def __init__(self, message: AcceptedMessage, answer: SubmissionAnswer, chunks: int = 0) -> None:
        self.message = message
        self.answer = answer
        self.chunks = chunks


_Write = _New | int
"""What a group writes: a new message, or the number of one that has ended."""


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
        self._clock = clock
        self._budget = budget
        self._report = report
        self._link: SchedulerLink | None = None
        self._held: dict[int, AcceptedMessage] = {}
        self._bounces: dict[int, list[bytes]] = {}
        self._deferral_answers: dict[int, Callable[[bool], None]] = {}
        self._numbers: deque[int] = deque()
        self._withdrawn: list[int] = []
        self._weight = 0
        self._is_filling = self._is_withdrawing = False
        self._stopped: Call | None = None
        self._writers = [make_worker(f"writer {n}") for n in range(WRITERS)]
        self._identity = identity
        self._batchers: list[Batcher[_Write, int]] = [
            Batcher(writer, clock.soon, partial(self._write, writer), self._written, GROUP) for writer in self._writers
        ]
        self._deferrer, self._claimer, self._bodies = map(make_worker, ("deferrals", "claims", "bodies"))
        self._deferrals: Batcher[Deferral, int] = Batcher(
            self._deferrer, clock.soon, self._deferrer.database.defer, self._deferred, GROUP
        )
        lease_worker = make_worker("lease")
        self._workers = [*self._writers, self._deferrer, self._claimer, self._bodies, lease_worker]
        events = MembershipEvents(
            self._begun, self._paused, self._resumed, self._lost, lambda: len(self._held), self._report
        )
        self.membership = Membership(lease_worker, identity, clock, name, software, events)
        self._claims = Claims(
            self._claimer,
            identity,
            clock,
            paths.pid,
            self.membership,
            self._may_claim,
            self._take,
            self._release,
            self._held.__contains__,
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
        """End all threads and connections."""
        for worker in self._workers:
            worker.stop()

    # Acceptance.

    def take_number(self) -> int:
        """Return a number for a new message.  Fails: OSError while the database gives none."""
        if len(self._numbers) < BLOCK // 2:
            self._fill()
        if not self._numbers or not self.membership.is_active:
            raise OSError("the database of the queue does not answer")
        return self._numbers.popleft()

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
            or self._weight + message.weight > self._budget
            or len(message.envelope) > MAX_ENVELOPE
        ):
            self._remove_file(message.number)
            answer(q.NO_MEMORY if len(message.envelope) > MAX_ENVELOPE else q.WRITE_ERROR, message)
            return
        message.state = STORING
        self._weight += message.weight
        new = _New(message, answer)
        if message.body is not None:
            self._add(new)
            return
        path = spool_path(self._paths.pid, message.number)

        def uploaded(chunks: int | None, error: OSError | None) -> None:
            if chunks is None:
                self._refuse(new, error)
            else:
                new.chunks = chunks
                self._add(new)

        self._bodies.run(partial(upload, self._bodies.database, path, message.number), uploaded)

    def _add(self, item: _Write) -> None:
        idle = (batcher for batcher in self._batchers if batcher.is_idle)
        next(idle, min(self._batchers, key=lambda batcher: batcher.waiting)).add(item)

    def _write(self, writer: DatabaseWorker, group: list[_Write]) -> int:
        """Write a group, in the thread of its connection; return the epoch in which it was written."""
        epoch = self._identity.epoch
        new = [
            NewMessage(m.number, m.birth, m.uid, m.qp, m.size, m.envelope, m.body, item.chunks)
            for item in group
            if isinstance(item, _New)
            for m in (item.message,)
        ]
        writer.database.accept(new, [item for item in group if isinstance(item, int)])
        return epoch

    def _written(self, group: list[_Write], epoch: int | None, error: OSError | None) -> None:
        if epoch is None:
            self._not_written(group, error)
            return
        for item in group:
            if isinstance(item, int):
                self._forget(item)
                continue
            message = item.message
            self._weight -= message.weight
            item.answer(q.OK, message)
            if epoch == self._identity.epoch:
                message.state = OWNED
                self._held[message.number] = message
                self._hand_over(message, None)
        self._continue_stopping()

    def _not_written(self, group: list[_Write], error: OSError | None) -> None:
        """Refuse new messages, which are withdrawn where they may be stored; write the ends again."""
        for item in group:
            if not isinstance(item, int):
                if isinstance(error, CommitUnknown):
                    self._withdrawn.append(item.message.number)
                self._refuse(item, error)
            elif item in self._held:
                self._clock.later(RETRY_S, partial(self._end_again, item))
        self._withdraw()
        self._continue_stopping()

    def _end_again(self, number: int) -> None:
        if number in self._held:
            self._add(number)

    def _refuse(self, new: _New, error: OSError | None) -> None:
        self._report(f"alert: cannot store a message: {error.strerror if error is not None else 'unknown'}")
        self._weight -= new.message.weight
        self._remove_file(new.message.number)
        new.answer(q.WRITE_ERROR, new.message)

    def _fill(self) -> None:
        if self._is_filling or not self.membership.is_active:
            return
        self._is_filling = True

        def filled(numbers: range | None, error: OSError | None) -> None:
            self._is_filling = False
            self._numbers.extend(numbers or ())

        self._claimer.run(self._claimer.database.take_numbers, filled)

    def _withdraw(self) -> None:
        """Remove the messages whose commits were unknown, as soon as the database reports them."""
        if self._is_withdrawing or not self._withdrawn:
            return
        self._is_withdrawing = True
        numbers, self._withdrawn = self._withdrawn, []

        def withdrawn(result: object, error: OSError | None) -> None:
            self._is_withdrawing = False
            if error is not None:
                self._withdrawn += numbers
                self._clock.later(RETRY_S, self._withdraw)

        self._bodies.run(lambda: self._bodies.database.withdraw(numbers), withdrawn)

    # Scheduler.

    def scheduler_connected(self, link: SchedulerLink, still_held: Collection[int]) -> None:
        """Take back what an earlier scheduler had and this one has not; it comes as claimed messages."""
        self._link = link
        self._release(
            [number for number, message in self._held.items() if message.state == OWNED and number not in still_held]
        )
        link.set_lease(LEASED if self.membership.is_active else PAUSED)
        self._claims.claim()

    def scheduler_disconnected(self, link: SchedulerLink) -> None:
        """Keep what it held for its return; new messages are given back until then."""
        if self._link is link:
            self._link = None
            self._bounces.clear()
            self._deferral_answers.clear()

    def delivered(self, serial: int) -> None:
        """End a message whose every recipient is done."""
        message = self._held.get(serial)
        if message is not None and message.state == OWNED:
            message.state = ENDED
            self._add(serial)

    def add_reports(self, serial: int, piece: bytes) -> None:
        """Take a piece of the reports of failed recipients, before `defer`."""
        if serial in self._held:
            self._bounces.setdefault(serial, []).append(piece)

    def defer(
        self,
        serial: int,
        due: tuple[int | None, int | None],
        done: bytes,
        replies: bytes,
        answer: Callable[[bool], None],
    ) -> None:
        """Give a message back, to be tried again at `due`; `answer` follows when the database has it."""
        bounce = b"".join(self._bounces.pop(serial, ()))
        message = self._held.get(serial)
        if message is None or message.state != OWNED:
            answer(False)
            return
        message.state = DEFERRING
        self._deferral_answers[serial] = answer
        home = home_of(_destination(message.envelope, done))
        self._deferrals.add(Deferral(serial, due, home, done, replies, bounce, False))

    def _deferred(self, group: list[Deferral], count: int | None, error: OSError | None) -> None:
        for deferral in group:
            if count is not None:
                self._forget(deferral.number)
                self._deferral_answers.pop(deferral.number, _ignore)(True)
            elif deferral.number in self._held:
                self._clock.later(RETRY_S, partial(self._defer_again, deferral))
        self._continue_stopping()

    def _defer_again(self, deferral: Deferral) -> None:
        if deferral.number in self._held:
            self._deferrals.add(deferral)

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
        self._bounces.pop(number, None)
        if message is not None and message.body is None:
            self._remove_file(number)

    def _release(self, numbers: list[int]) -> None:
        """Give messages back as they are."""
        if not numbers:
            return
        for number in numbers:
            if number in self._held:
                self._held[number].state = DEFERRING

        def released(result: object, error: OSError | None) -> None:
            if error is None:
                for number in numbers:
                    self._forget(number)
            else:
                self._clock.later(RETRY_S, lambda: self._release([n for n in numbers if n in self._held]))
            self._continue_stopping()

        self._deferrer.run(lambda: self._deferrer.database.release(numbers), released)

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
        self._fill()
        if self._link is not None:
            self._link.set_lease(LEASED)
        self._withdraw()
        self._claims.claim()
        self._sweep()

    def _paused(self) -> None:
        if self._link is not None:
            self._link.set_lease(PAUSED)

    def _resumed(self) -> None:
        if self._link is not None:
            self._link.set_lease(LEASED)
        self._claims.claim()

    def _lost(self) -> None:
        """Drop everything: it belongs to others now."""
        for number in list(self._held):
            self._forget(number)
        self._deferral_answers.clear()
        if self._link is not None:
            self._link.set_lease(LOST)

    def _sweep(self) -> None:
        if self._stopped is None:
            self._bodies.run(self._bodies.database.sweep_chunks, lambda count, error: None)
            self._clock.later(SWEEP_EVERY_S, self._sweep)

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
        if self._stopped is None or not self._deferrals.is_idle or not all(one.is_idle for one in self._batchers):
            return
        if self._held and self.membership.is_active:
            return
        then, self._stopped = self._stopped, _nothing
        if then is not _nothing:
            self.membership.end(then)

    def _remove_file(self, number: int) -> None:
        try:
            os.unlink(spool_path(self._paths.pid, number))
        except FileNotFoundError:
            pass
        except OSError as error:
            self._report(f"warning: cannot remove a file in pid: {error.strerror}")


def _nothing() -> None:
    """Do nothing."""


def _ignore(ok: bool) -> None:
    """Do nothing."""


def _destination(envelope: bytes, done: bytes) -> bytes:
    """Return the domain of the first recipient that is left."""
    recipients = Envelope.parse(envelope).recipients
    finished = unpack_done(done)
    left = (recipient for index, recipient in enumerate(recipients) if index not in finished)
    return next(left, b"").rpartition(b"@")[2]
