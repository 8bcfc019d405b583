"""Serves administrators: answers queries and changes messages.

Requests come over the scheduler's control socket.

It changes the scheduler's state and the files together, so that they never disagree. A message in memory is first
written to the disk and changed there. A message with running deliveries is changed when they have ended; no further
one is started. Every change is one log line, `qmail-send: audit: ...`: its first word is not part of the log's
grammar, so that analysers skip it.

Source: ipc/scheduler_control_protocol.py.
"""

from collections.abc import Callable, Iterator

from eqmail_core.ipc import scheduler_control_protocol as wire
from eqmail_core.ipc.scheduler_control_protocol import MemoryMessageRecord
from eqmail_core.queue.admin.actions import drop_recipients, fail_recipients, set_due, stamp_of
from eqmail_core.queue.files import QueueFileError
from eqmail_core.queue.format.channels import CHANNELS, HELD_UNTIL
from eqmail_core.queue.format.recipient_list import numbered
from eqmail_core.scheduler.completion import MessageCompletion
from eqmail_core.scheduler.disk_recorder import DiskRecorder
from eqmail_core.scheduler.due_queue import DueQueue
from eqmail_core.scheduler.memory.message import MemoryMessage
from eqmail_core.scheduler.memory.queue import MemoryQueue
from eqmail_core.scheduler.ports import Job
from eqmail_core.scheduler.scheduler import Scheduler

Then = Callable[[bytes], None]


class SchedulerControl:
    """Answers queries about the queue and changes its messages."""

    def __init__(self, scheduler: Scheduler, completion: MessageCompletion, message: MemoryQueue) -> None:
        self._message = message
        self._scheduler = scheduler
        self._files = scheduler.files
        self._log = scheduler.log
        self._completion = completion
        self._connection_count = 0
        self._actions: dict[bytes, Callable[[int], bytes]] = {
            wire.RETRY: self._retry,
            wire.RELEASE: self._retry,
            wire.HOLD: self._hold,
            wire.DELETE: lambda number: self._remove_jobs(number, self._delete),
            wire.MOVE: lambda number: self._remove_jobs(number, self._delete),
            wire.BOUNCE: lambda number: self._remove_jobs(number, self._bounce),
        }

    # Queries

    def listing(self) -> Iterator[bytes]:
        """Yield the packets that answer L; each shows memory at the moment it is requested."""
        for serial in self._message.serials:
            message = self._message.messages.get(serial)
            if message is not None:
                yield from wire.message_packets(_described(message))
        channels = self._scheduler.channels
        memory = self._message.is_held
        running = {number for channel in channels for number in channel.open if not memory(number)}
        yield from wire.packets(wire.OPEN, (b"%d" % number for number in running))
        for channel in channels:
            yield from wire.due_packets(CHANNELS[channel.index], channel.due.snapshot())

    def counters(self) -> Iterator[bytes]:
        """Yield the packets that answer S."""
        message = list(self._message.messages.values())
        numbers = {
            b"memory.messages": len(message),
            b"memory.bytes": sum(item.size for item in message),
            b"spilled": self._message.spiller.spilled,
            b"ending": len(self._completion.due) + len(self._completion.notifying),
        }
        for channel in self._scheduler.channels:
            numbers[channel.label + b".due"] = len(channel.due)
            numbers[channel.label + b".running"] = channel.used_slots
            numbers[channel.label + b".limit"] = channel.limit
        return wire.pair_packets(wire.STATS, ((name, b"%d" % number) for name, number in numbers.items()))

    # Changes

    def client_connected(self) -> None:
        """Register a client that may make changes; the first one has the due times indexed."""
        self._connection_count += 1
        if self._connection_count == 1:
            for due in self._dues():
                due.index()

    def client_disconnected(self) -> None:
        """Unregister a client; the last one has the index dropped."""
        self._connection_count -= 1
        if not self._connection_count:
            for due in self._dues():
                due.unindex()

    def change(self, verb: bytes, number: int, stamp: bytes, uid: int, then: Then) -> None:
        """Apply `verb` to a message for uid `uid`; `then` is called with the result, at once or later."""
        if stamp.startswith(wire.IN_MEMORY):
            message = self._message.messages.get(int(stamp[1:]))
            if message is None or message.number != number:
                then(wire.CHANGED if self._is_on_disk(number) else wire.GONE)
            elif verb in (wire.RETRY, wire.RELEASE):
                then(wire.DONE)
            else:
                message.afterwards.append(lambda: then(self._act(verb, number, uid)))
                self._message.spiller.spill(message)
            return
        try:
            found = stamp_of(self._files.paths, number)
        except OSError as error:
            then(b"unable to look at it: " + (error.strerror or "").encode())
            return
        if found is None:
            then(wire.GONE)
        elif found != stamp or self._message.is_held(number):
            then(wire.CHANGED)
        else:
            then(self._act(verb, number, uid))

    def _act(self, verb: bytes, number: int, uid: int) -> bytes:
        try:
            if self._files.birth_of(number) is None:
                return wire.NEW if self._is_on_disk(number) else wire.GONE
            if number in self._completion.notifying:
                return b"its bounce is on its way"
            sender = self._files.info(number).sender
            result = self._actions[verb](number)
        except QueueFileError as trouble:
            return trouble.text
        self._log.add(self._log.lines.audit(uid, verb, number, sender, result))
        return result

    def _retry(self, number: int) -> bytes:
        now = self._scheduler.now
        self._scheduler.attempts.retry(number)
        set_due(self._files, number, now)
        self._completion.due.move(number, now)
        return wire.DONE

    def _hold(self, number: int) -> bytes:
        still_open = self._scheduler.attempts.hold(number)
        set_due(self._files, number, HELD_UNTIL)
        self._scheduler.attempts.move_due(number, HELD_UNTIL)
        return wire.BUSY if still_open else wire.DONE

    def _remove_jobs(self, number: int, act: Callable[[int], None]) -> bytes:
        still_open = self._scheduler.attempts.remove(number)
        if not still_open:
            self._end(number, act)
            return wire.DONE
        recorder = _AfterJobs(self._scheduler.recorder, set(still_open), lambda: self._end_late(number, act))
        for job in still_open:
            job.recorder = recorder
        return wire.BUSY

    def _end(self, number: int, act: Callable[[int], None]) -> None:
        """Run `act`; when it fails, the message is scheduled as before."""
        try:
            act(number)
        except QueueFileError:
            for channel, due in self._files.birth_of(number) or ():
                self._scheduler.enqueue(number, channel, due)
            raise

    def _end_late(self, number: int, act: Callable[[int], None]) -> None:
        try:
            self._end(number, act)
        except QueueFileError as trouble:
            self._log.warning(trouble.text)

    def _delete(self, number: int) -> None:
        drop_recipients(self._files, number)
        self._completion.due.remove(number)
        self._completion.remove(number)

    def _bounce(self, number: int) -> None:
        fail_recipients(self._files, number, self._scheduler.routes.original_address)
        if not self._completion.due.move(number, self._scheduler.now):
            self._completion.add(number, self._scheduler.now)

    def _dues(self) -> tuple[DueQueue, ...]:
        return (*(channel.due for channel in self._scheduler.channels), self._completion.due)

    def _is_on_disk(self, number: int) -> bool:
        try:
            return stamp_of(self._files.paths, number) is not None
        except OSError:
            return True


class _AfterJobs:
    """Records results of attempts whose message is removed from the queue when the last of them ends."""

    def __init__(self, recorder: DiskRecorder, jobs: set[Job], act: Callable[[], None]) -> None:
        self._recorder = recorder
        self._jobs = jobs
        self._act = act

    def record_done(self, job: Job, offset: int) -> None:
        """Record as the recorder of the disk."""
        self._recorder.record_done(job, offset)

    def record_failure(self, job: Job, recipient: bytes, offset: int, report: bytes, has_failed: bool) -> bool:
        """Record as the recorder of the disk."""
        return self._recorder.record_failure(job, recipient, offset, report, has_failed)

    def job_closed(self, job: Job) -> None:
        """Run the action once the last attempt is closed."""
        self._jobs.discard(job)
        if not self._jobs:
            self._act()


def _described(message: MemoryMessage) -> MemoryMessageRecord:
    record = MemoryMessageRecord(
        message.serial, message.number, message.identity.birth, message.size, message.sender, bool(message.failures)
    )
    for job, addresses in zip(message.jobs, message.recipients, strict=True):
        done = set(job.done)
        for offset, _, address in numbered(addresses):
            record.recipients.append((CHANNELS[job.channel], offset in done, address))
    return record
