"""The states of a message: in the journal, at the scheduler, or as files.

    COMMITTING  its record waits for the group's flush; then it is answered and passed to the scheduler
    LIVE        in the journal only
    WRITING     being written to mess/N; SPILLING: being written to todo/N
    AS_FILE     mess/N exists; the scheduler writes info/N, then calls `spilled`
    REMOVING    it needs a tombstone; when that is on the disk, its number is free or belongs to its files

A message becomes files at once when the journal cannot hold it: the scheduler is disconnected, the envelope does not
fit a packet, too much is held already, or the setting `goes_direct` is on.

Acknowledged means on the disk: `answer(0)` is called in two places, after the journal's flush and after the flush of
todo/. A number is given out again only after the tombstone of its last message is on the disk. So two records without
tombstones never have one number. A request to clean up a number waits for that too. So no record without a tombstone
relies on a file that was removed.

Long because its states belong together: what they need beside them is in modules of their own.

Fails: never; a disk error is an exit code of qmail-queue for a new message, and is retried for everything else.
"""

from collections.abc import Callable, Collection
from functools import partial
from zlib import crc32

from eqmail_core.event_loop.worker_thread import Call, Executor
from eqmail_core.ipc.admission_protocol import MAX_ENVELOPE
from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.format import exit_codes as q
from eqmail_core.queue.service.accepted_message import (
    AS_FILE,
    COMMITTING,
    GOES_BACK,
    LIVE,
    REMOVING,
    SPILLING,
    STAYS,
    UNDECIDED,
    VANISHES,
    WRITING,
    AcceptedMessage,
)
from eqmail_core.queue.service.clean_requests import CleanRequests
from eqmail_core.queue.service.file_writer import FLUSHED, NAMED, QUEUED, FileWrite, FileWriter
from eqmail_core.queue.service.journal import Journal
from eqmail_core.queue.service.journal_writer import RETRY_S, JournalWriter, Record
from eqmail_core.queue.service.number_pool import NumberPool
from eqmail_core.queue.service.pool_supply import PoolSupply
from eqmail_core.queue.service.ports import Clock, DirectoryOnly, SchedulerLink, SubmissionAnswer
from eqmail_core.queue.spool import remove
from eqmail_core.site.layout import QueuePaths


class MessageStore(DirectoryOnly):
    """All messages of the queue that are not only files; see the module.

    `goes_direct`: every new message becomes files at once; at most `limit` of them are written together.
    `on_problem(what, error)` is called for everything that is refused or retried because of the disk.
    """

    def __init__(
        self,
        disk: FileSystem,
        paths: QueuePaths,
        pool: NumberPool,
        journal: Journal,
        workers: tuple[Executor, Executor],
        clock: Clock,
        budget: int,
        goes_direct: bool = False,
        limit: int = 200,
    ) -> None:
        self._disk = disk
        self._paths = paths
        self._pool = pool
        self._journal = journal
        self._clock = clock
        self._budget = budget
        self._goes_direct = goes_direct
        self._link: SchedulerLink | None = None
        self._weight = 0
        self.on_problem: Callable[[str, OSError], object] = lambda what, error: None
        self._held: dict[int, AcceptedMessage] = {}
        self._by_number: dict[int, AcceptedMessage] = {}
        self._stopped: Callable[[], None] | None = None
        self._spill_failed = False
        self._writer = JournalWriter(journal, workers[0], clock, self._committed, self._not_committed)
        self._files = FileWriter(disk, paths, workers[1], clock.soon, limit, self._continue_stopping)
        self._numbers = PoolSupply(disk, paths, pool, self._files)
        self._cleaning = CleanRequests(disk, paths, self._files, self._by_number.get, self._writer.write_tombstones)

    @property
    def held(self) -> int:
        """Count the messages that are in the journal and have not ended."""
        return len(self._held)

    # Acceptance.

    def take_number(self) -> int:
        """Return a number for a new message.  Fails: OSError when there is none."""
        return self._numbers.take()

    def release_number(self, number: int, is_written: bool = True) -> None:
        """Return an unused number to the pool; its file may have been written to."""
        self._numbers.release(number, is_written)

    def path_for(self, number: int) -> str:
        """Return the path of a number that was taken, or of mess/N."""
        return self._numbers.path(number)

    def accept(self, message: AcceptedMessage, answer: SubmissionAnswer) -> None:
        """Store a new message; `answer(code, message)` follows, with code 0 once it is on the disk."""
        journal = self._journal
        if (
            self._goes_direct
            or self._link is None
            or self._stopped is not None
            or self._weight + message.weight > self._budget
            or len(message.envelope) > MAX_ENVELOPE
        ):
            self._place(message, QUEUED, partial(self._accepted_as_files, message, answer))
            return
        message.serial = journal.next_serial
        journal.next_serial += 1
        message.state = COMMITTING
        self._hold(message)
        if message.body is None:
            self._place(message, FLUSHED, partial(self._flushed, message, answer))
        else:
            self._writer.record(message, answer)

    def _accepted_as_files(
        self, message: AcceptedMessage, answer: SubmissionAnswer, result: object, error: OSError | None
    ) -> None:
        if error is None:
            self._pool.discard(message.number)
        else:
            self.on_problem("cannot write a message", error)
            self.release_number(message.number)
        answer(q.OK if error is None else q.WRITE_ERROR, message)

    def _flushed(
        self, message: AcceptedMessage, answer: SubmissionAnswer, result: object, error: OSError | None
    ) -> None:
        if error is None:
            self._writer.record(message, answer)
            return
        self.on_problem("cannot write a message", error)
        self._unhold(message)
        del self._by_number[message.number]
        self.release_number(message.number)
        answer(q.WRITE_ERROR, message)

    def recovered(self, message: AcceptedMessage, is_named: bool) -> None:
        """Add a message that recovery found in the journal."""
        message.state = AS_FILE if is_named else LIVE
        if is_named:
            message.body, message.weight = None, len(message.envelope)
        self._hold(message)

    def mark_named(self, message: AcceptedMessage) -> None:
        """Add a recovered message that is queued as files already: it needs only a tombstone."""
        self._hold(message)
        self._end(message, STAYS)

    def renumbered(self, message: AcceptedMessage) -> None:
        """Add a recovered message with a new number; it waits until its new record is on the disk."""
        message.state = COMMITTING
        self._hold(message)
        self._writer.record(message, None)

    # Scheduler.

    def scheduler_connected(self, link: SchedulerLink, still_held: Collection[int]) -> None:
        """Pass to the scheduler every message it does not hold yet, and all that are accepted from now on."""
        self._link = link
        for message in list(self._held.values()):
            if message.serial in still_held:
                message.scheduler = link
            else:
                self._admit(message)

    def scheduler_disconnected(self, link: SchedulerLink) -> None:
        """Write new messages as files until the scheduler returns; messages that it held are kept for it."""
        if self._link is link:
            self._link = None

    def delivered(self, serial: int) -> None:
        """End a message whose every recipient is done."""
        message = self._held.get(serial)
        if message is None:
            return
        if message.state == LIVE:
            self._end(message, GOES_BACK)
        elif message.state == AS_FILE:
            self._end(message, VANISHES)
        elif message.state == WRITING:
            message.number_fate = VANISHES

    def spilled(self, serial: int) -> None:
        """End a message whose info/N is on the disk: its files belong to the scheduler."""
        message = self._held.get(serial)
        if message is None:
            return
        if message.state == AS_FILE:
            self._end(message, STAYS)
        elif message.state in (LIVE, WRITING):
            message.number_fate = STAYS
            self.needs_spill(serial, lambda ok: None)

    def needs_spill(self, serial: int, answer: Callable[[bool], None]) -> None:
        """Write mess/N; `answer(True)` follows when it is on the disk."""
        message = self._held.get(serial)
        if message is None or message.state != LIVE:
            answer(message is not None and message.state == AS_FILE)
            return
        message.state = WRITING
        self._place(message, NAMED, partial(self._named, message, answer))

    def _named(
        self, message: AcceptedMessage, answer: Callable[[bool], None], result: object, error: OSError | None
    ) -> None:
        if error is not None:
            self.on_problem("cannot write a message that has to wait", error)
            message.state = LIVE
            if message.number_fate == VANISHES:
                self._end(message, GOES_BACK)
            message.number_fate = UNDECIDED
        else:
            message.state = AS_FILE
            self._pool.discard(message.number)
            if message.body is not None:
                message.crc = crc32(message.body)
                self._weight -= len(message.body)
                message.body, message.weight = None, len(message.envelope)
            if message.number_fate:
                self._end(message, message.number_fate)
        answer(error is None)
        self._admit(message)

    def _admit(self, message: AcceptedMessage) -> None:
        link = self._link
        if link is not None and message.scheduler is not link and message.state in (LIVE, AS_FILE):
            message.scheduler = link
            link.admit(message)

    def clean(self, request: bytes, answer: Callable[[bytes], None]) -> None:
        """Do what qmail-clean does, in the order of the requests; `answer` gets one byte."""
        self._cleaning.add(request, answer)

    # Files.

    def spill(self) -> int:
        """Write the held messages as files in state S4; used at a stop and when the scheduler is gone.

        Returns how many messages this concerns.
        """
        some = [message for message in self._held.values() if message.state in (LIVE, AS_FILE)]
        for message in some:
            is_named, message.state = message.state == AS_FILE, SPILLING
            self._place(message, QUEUED, partial(self._spilled, message, is_named), is_named)
        return len(some)

    def _spilled(self, message: AcceptedMessage, was_named: bool, result: object, error: OSError | None) -> None:
        if error is None:
            self._pool.discard(message.number)
            self._end(message, STAYS)
        else:
            self.on_problem("cannot write a message that has to wait", error)
            message.state = AS_FILE if was_named else LIVE
            self._spill_failed = True
            self._admit(message)

    def _place(
        self,
        message: AcceptedMessage,
        goal: int,
        then: Callable[[object, OSError | None], None],
        is_named: bool = False,
    ) -> None:
        self._files.place(FileWrite(message, goal, self._pool.path(message.number), is_named), then)

    # The journal.

    def _hold(self, message: AcceptedMessage) -> None:
        self._held[message.serial] = message
        self._by_number[message.number] = message
        self._weight += message.weight

    def _unhold(self, message: AcceptedMessage) -> None:
        del self._held[message.serial]
        self._weight -= message.weight

    def _end(self, message: AcceptedMessage, number_fate: int) -> None:
        self._unhold(message)
        message.state, message.number_fate = REMOVING, number_fate
        self._writer.end(message, at_once=self._stopped is not None)

    def _committed(self, records: list[Record], ended: list[AcceptedMessage]) -> None:
        """Continue with messages whose record, or whose tombstone, is on the disk."""
        new = []
        for message, answer in records:
            if message.state == COMMITTING:
                message.state = LIVE
                new.append(message)
                if answer is not None:
                    answer(q.OK, message)
        for message in ended:
            self._removed(message)
        for message in new:
            self._admit(message)
        self._writer.make_room(self._held.values(), self._weight)
        self._cleaning.resume()
        self._continue_stopping()

    def _not_committed(self, records: list[Record], error: OSError | None) -> None:
        """Refuse new messages, with tombstones for records that may exist; retry everything else."""
        if error is not None:
            self.on_problem("cannot write the journal", error)
        for message, answer in records:
            if answer is not None:
                self._unhold(message)
                message.state, message.number_fate = REMOVING, GOES_BACK
                self._writer.end_later(message)
                answer(q.WRITE_ERROR, message)
            elif message.state == COMMITTING:
                self._clock.later(RETRY_S, partial(self._writer.record, message, None))
        self._continue_stopping()

    def _removed(self, message: AcceptedMessage) -> None:
        number = message.number
        if self._by_number.get(number) is message:
            del self._by_number[number]
        if message.number_fate == GOES_BACK:
            self.release_number(number, is_written=message.body is None)
        elif message.number_fate == VANISHES:
            self._files.run(partial(remove, self._disk, self._paths.mess(number)), lambda result, error: None)

    # End.

    def stop(self, then: Call) -> None:
        """Write all messages as files, clear journal and pool, and call `then`.

        What cannot be written stays in the journal.
        """
        self._stopped, self._link = then, None
        self._numbers.stop()
        self._writer.has_failed = self._spill_failed = False
        self._continue_stopping()

    def _continue_stopping(self) -> None:
        if self._stopped is None or not self._writer.is_idle or not self._files.is_idle:
            return
        if self._held and not self._spill_failed and self.spill():
            return
        if self._writer.has_ended and not self._writer.has_failed:
            self._writer.write_tombstones()
            return
        then, self._stopped = self._stopped, None
        if not self._held:
            # Messages that ended or are files need no tombstone in a journal that is emptied.
            try:
                self._journal.empty()
                self._pool.remove_all()
            except OSError:
                pass
        then()
