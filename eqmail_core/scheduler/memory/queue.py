"""Messages that are only in memory, safe in the queue's journal: most of them are delivered and never touch the disk.

A message waits in memory no longer than its first attempt.  When a recipient is deferred, when the attempt takes longer
than a moment, or at the end of the process, the queue writes mess/N, this side writes info, local and remote, and from
there on it is an ordinary message; deliveries that run stay attached to it.

Source: architecture "journal first"; protocols.admission_wire.
"""

import os
from collections.abc import Iterator

from eqmail_core.dsn.notification import ReportedMessage
from eqmail_core.dsn.parameters import index_key, list_key, parse_dsn, split_dsn
from eqmail_core.ipc.admission_protocol import Admission
from eqmail_core.mail.address import is_verp_base
from eqmail_core.mail.dates import date822
from eqmail_core.queue.files import QueueFileError
from eqmail_core.queue.format.channels import LOCAL, REMOTE
from eqmail_core.queue.format.envelope import split_envelope
from eqmail_core.queue.format.info import is_born, mark_of
from eqmail_core.queue.format.recipient_list import numbered
from eqmail_core.queue.message_match import MISSING, message_state, vouch
from eqmail_core.queue.preprocess import Preprocessor
from eqmail_core.scheduler.completion import MessageCompletion
from eqmail_core.scheduler.memory.message import ASKED, BOUNCING, HELD, MemoryMessage, is_finished
from eqmail_core.scheduler.memory.spill import Spiller
from eqmail_core.scheduler.ports import SYSTEM_ERROR_PAUSE_S, DelivererPort, Job, MessageKeeper, SharedMessageFd
from eqmail_core.scheduler.scheduler import Scheduler
from eqmail_core.system.files import CHUNK

MAX_FAILURE_BYTES = 1 << 18
"""Reports on failed recipients that are kept in memory for one message."""


class MemoryQueue:
    """All messages in memory; also the book in which their jobs write.

    `limit`: messages beyond it go to the disk at once.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        ending: MessageCompletion,
        preparation: Preprocessor,
        keeper: MessageKeeper,
        worker: DelivererPort,
        limit: int,
    ) -> None:
        self.messages: dict[int, MemoryMessage] = {}
        self.spiller = Spiller(self.messages, self._drop, scheduler, ending, preparation, keeper, worker)
        self._numbers: dict[int, MemoryMessage] = {}
        self._scheduler = scheduler
        self._log = scheduler.log
        self._completion = ending
        self._queue_service = keeper
        self._limit = limit

    def is_held(self, number: int) -> bool:
        """Whether message `number` is in memory."""
        return number in self._numbers

    @property
    def serials(self) -> list[int]:
        """The serials of all messages in memory."""
        return list(self.messages)

    def admit(self, it: Admission, fd: int, now: float) -> None:
        """Take a message from the queue and let its first attempt begin; the descriptor is ours (-1: none came)."""
        if it.serial in self.messages:
            if fd >= 0:
                os.close(fd)
            return
        if self._is_known(it):
            if fd >= 0:
                os.close(fd)
            return
        scheduler = self._scheduler
        if fd >= 0 and len(self.messages) >= self._limit:
            os.close(fd)
            fd = -1
        envelope, wishes = split_dsn(it.envelope)
        sender, recipients = split_envelope(envelope)
        held = MemoryMessage(it, sender, SharedMessageFd(fd), now)
        self.messages[it.serial] = self._numbers[it.number] = held
        lines, say = self._log.lines, self._log.say
        say(lines.new_message(it.number))
        say(lines.about_message(it.number, it.size, sender, it.qp, it.uid))
        if len(recipients) == 1:
            channel, address = scheduler.routes.route(recipients[0])
            self._open(held, channel, [address], [0])
        else:
            self._open_all(held, recipients)
        if wishes:
            _note_dsn(held, wishes)
        if fd < 0 or scheduler.exiting:
            self.spiller.spill(held)
        else:
            for job in held.jobs:
                scheduler.channels[job.channel].waiting.append(job)
            if not held.jobs:
                self._finish(held)

    def _is_known(self, it: Admission) -> bool:
        """Tell whether the message went on from its files, placed before a crash or a lost connection, and answer so.

        Files of an earlier message with its number are removed: they would have its recipients get this one.
        """
        mark, ledger = mark_of(it.serial), self._scheduler.files
        if self._completion.has_ended(it.number, it.birth, mark):
            self._queue_service.delivered(it.serial)
            return True
        try:
            found = ledger.born_ns(it.number)
            if found is None:
                return False
            if is_born(found, it.birth, mark) and message_state(ledger, it.number) != MISSING:
                vouch(ledger, it.number)
                self._queue_service.spilled(it.serial)
                return True
            self._scheduler.remove_stale(it.number)
        except QueueFileError as trouble:
            self._log.warning(trouble.text)
        return False

    def _open_all(self, held: MemoryMessage, recipients: list[bytes]) -> None:
        addresses: tuple[list[bytes], list[bytes]] = ([], [])
        places: tuple[list[int], list[int]] = ([], [])
        route = self._scheduler.routes.route
        for place, recipient in enumerate(recipients):
            channel, address = route(recipient)
            addresses[channel].append(address)
            places[channel].append(place)
        for channel in (LOCAL, REMOTE):
            if addresses[channel]:
                self._open(held, channel, addresses[channel], places[channel])

    def _open(self, held: MemoryMessage, channel: int, addresses: list[bytes], places: list[int]) -> None:
        sender = held.sender
        job = Job(self, held.number, channel, sender, held.birth, numbered(addresses), is_verp_base(sender))
        job.serial = held.serial
        job.recipient_indexes = places
        job.body = held.body.share()
        held.jobs.append(job)
        held.recipients.append(addresses)
        held.recipient_indexes.append(places)
        held.running_jobs += 1

    # The book

    def record_done(self, job: Job, offset: int) -> None:
        """Remember that the recipient at `offset` is finished."""
        job.done.append(offset)

    def record_failure(self, job: Job, recipient: bytes, offset: int, report: bytes, has_failed: bool) -> bool:
        """Remember what the sender must be told; where that becomes long, the message is written to the disk."""
        held, block = self.messages[job.serial], self._scheduler.block(recipient, report, job.recipient_dsn(offset))
        held.failures.append(block)
        held.failure_bytes += len(block)
        job.done.append(offset)
        if held.failure_bytes > MAX_FAILURE_BYTES:
            self.spiller.spill(held)
        return True

    def job_closed(self, job: Job) -> None:
        """Let the message go when all is done; write it to the disk when something has to wait."""
        held = self.messages[job.serial]
        held.running_jobs -= 1
        if job.pending or not job.hit_end:
            self.spiller.spill(held)
        elif not held.running_jobs and held.state in (HELD, ASKED) and all(is_finished(job) for job in held.jobs):
            self._finish(held)

    def _finish(self, held: MemoryMessage) -> None:
        """All recipients are finished: tell the sender if need be, and forget the message."""
        if not held.failures:
            self._log.say(self._log.lines.end_message(held.number))
            self._queue_service.delivered(held.serial)
            self._drop(held)
            for act in held.afterwards:
                act()
            return
        held.state = BOUNCING

        def told(wait_s: int) -> None:
            held.state = HELD
            if not wait_s:
                held.failures.clear()
                self._finish(held)
            else:
                held.bounce_due = self._scheduler.now + wait_s
                self.spiller.spill(held)

        if self._completion.ready:
            it = ReportedMessage(
                held.sender,
                date822(held.birth),
                held.size,
                lambda: held.failures,
                lambda: _read_body(held.body.fd),
                held.dsn,
            )
            self._completion.send_notification(held.number, it, told)
        else:
            told(SYSTEM_ERROR_PAUSE_S)

    def _drop(self, held: MemoryMessage) -> None:
        del self.messages[held.serial]
        if self._numbers.get(held.number) is held:
            del self._numbers[held.number]
        held.body.drop()


def _note_dsn(held: MemoryMessage, text: bytes) -> None:
    """Give a message its wishes; their recipients are in the lists of its jobs now."""
    wishes = parse_dsn(text)
    if wishes is None:
        return
    keys = {}
    for job, addresses, places in zip(held.jobs, held.recipients, held.recipient_indexes, strict=True):
        for (offset, _, _), place in zip(numbered(addresses), places, strict=True):
            keys[index_key(place)] = list_key(job.channel, offset)
    held.dsn = wishes.rekeyed(keys.get)
    for job in held.jobs:
        job.dsn = held.dsn


def _read_body(fd: int) -> Iterator[bytes]:
    position = 0
    while piece := os.pread(fd, CHUNK, position):
        yield piece
        position += len(piece)
