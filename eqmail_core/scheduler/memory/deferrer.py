"""Gives messages of a shared queue back to the queue service: those that have a deferred recipient, and all at the end.

A message is given back when its last attempt has closed: with a bit for each finished recipient, the reports of failed
ones, and when each channel is due. The queue service answers when the database has it; until then the request is
repeated on every new connection. The message comes back when it is due, here or at another node.

While the lease of this node is over nothing starts. When it is lost, all messages are another node's: they are
dropped, and results that still arrive change nothing.

Source: docs/adr/0018-queue-on-postgresql.md; ipc/admission_protocol.py.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from eqmail_core.ipc.admission_protocol import Deferred, pack_done
from eqmail_core.queue.format.channels import LOCAL, REMOTE
from eqmail_core.queue.format.recipient_list import numbered
from eqmail_core.queue.format.replies import render_replies
from eqmail_core.scheduler.memory.message import ASKED, BOUNCING, HELD, MemoryMessage, is_finished
from eqmail_core.scheduler.ports import Job
from eqmail_core.scheduler.scheduler import Scheduler


class _Ignored:
    """Takes the results of messages that are another node's now."""

    def record_done(self, job: Job, offset: int) -> None:
        """Do nothing."""

    def record_failure(self, job: Job, recipient: bytes, offset: int, report: bytes, has_failed: bool) -> bool:
        """Do nothing, and count the recipient as finished."""
        return True

    def job_closed(self, job: Job) -> None:
        """Do nothing."""


_IGNORED = _Ignored()


class DeferralPort(Protocol):
    """The queue service of a shared queue."""

    def defer(self, deferred: Deferred, reports: bytes) -> None:
        """Give a message back; the answer comes through `Deferrer.spill_answered`."""


WarnSender = Callable[[MemoryMessage, Callable[[bool], None]], bool]
"""Sends the delay warning about a message, and calls back with whether that worked; False: none is due."""


class Deferrer:
    """Decides when messages in memory are given back; `spilled` counts them.

    `messages`: all messages in memory, by serial; `drop` removes one.
    """

    def __init__(
        self,
        messages: dict[int, MemoryMessage],
        drop: Callable[[MemoryMessage], None],
        scheduler: Scheduler,
        store: DeferralPort,
        warn: "WarnSender",
    ) -> None:
        self.messages = messages
        self.spilled = 0
        self._drop = drop
        self._scheduler = scheduler
        self._queue_service = store
        self._warn = warn

    def spill(self, message: MemoryMessage) -> None:
        """Give a message back when its attempts have closed."""
        if message.state == HELD:
            message.state = ASKED
        self.job_closed(message)

    def job_closed(self, message: MemoryMessage) -> None:
        """Give a message back if it waits for that and nothing of it runs any more."""
        if message.state != ASKED or message.running_jobs:
            return
        if not self._scheduler.exiting and self._warn(message, partial(self._warned, message)):
            message.state = BOUNCING
        else:
            self._give_back(message)

    def _warned(self, message: MemoryMessage, is_sent: bool) -> None:
        """Give a message back after the warning about its delay."""
        message.state = ASKED
        message.is_warned |= is_sent
        self._give_back(message)

    def stop(self, message: MemoryMessage) -> None:
        """Start nothing more of a message, and give it back when what runs has ended."""
        self._cancel(message)
        self.spill(message)

    def spill_answered(self, serial: int, ok: bool) -> None:
        """Drop a message that was given back."""
        message = self.messages.get(serial)
        if message is not None and message.state == ASKED and not message.running_jobs:
            self.spilled += 1
            self._drop(message)
            for act in message.afterwards:
                act()

    def lost(self) -> None:
        """Drop all messages, because another node has them now."""
        for message in list(self.messages.values()):
            # A bounce that is on its way ends the message here, and perhaps there too.
            if message.state != BOUNCING:
                for job in message.jobs:
                    job.recorder = _IGNORED
                self._cancel(message)
                self._drop(message)

    def resend_requests(self) -> None:
        """Repeat the unanswered requests on a new connection to the queue service."""
        for message in self.messages.values():
            if message.state == ASKED and not message.running_jobs:
                self._give_back(message)

    def exit(self) -> None:
        """Give everything back, because the process is about to end."""
        for message in list(self.messages.values()):
            self.stop(message)

    @property
    def is_stuck(self) -> bool:
        """Whether nothing in memory can be given back; never, for the queue service takes it in any case."""
        return False

    def give_up(self) -> None:
        """Drop what was not given back: it is free again when the queue service ends."""
        for message in list(self.messages.values()):
            self._drop(message)

    def pump(self, now: float) -> None:
        """Do nothing: a message may stay in memory for as long as its attempts last."""

    def wakes_at(self) -> float | None:
        """Return None: nothing here waits for a time."""
        return None

    def set_back(self, seconds: int) -> None:
        """Adjust to a clock that was set back."""
        for message in self.messages.values():
            for job in message.jobs:
                if not self._scheduler.is_open(job):
                    job.set_back(seconds)

    def _cancel(self, message: MemoryMessage) -> None:
        """Close the attempts that have not started, and stop reading the lists of those that have."""
        self._scheduler.attempts.suspend(message.number)
        for job in message.jobs:
            if job.refs and not job.started and not job.cancelled:
                job.cancel()
                job.refs = 0
                job.retry = self._scheduler.now
                message.running_jobs -= 1

    def _give_back(self, message: MemoryMessage) -> None:
        due: list[int | None] = list(message.later)
        done = set(message.done)
        for job, addresses, indexes in zip(message.jobs, message.recipients, message.recipient_indexes, strict=True):
            if not is_finished(job):
                due[job.channel] = job.retry
            finished = set(job.done)
            offsets = (record[0] for record in numbered(addresses))
            done.update(index for offset, index in zip(offsets, indexes, strict=True) if offset in finished)
        if due == [None, None]:
            # Only its bounce is to be sent.
            due[LOCAL] = max(message.bounce_due, 1)
        replies = render_replies({index: it for index, it in message.replies.items() if index not in done})
        times = due[LOCAL], due[REMOTE]
        deferred = Deferred(message.serial, times, pack_done(done), replies, message.is_warned)
        self._queue_service.defer(deferred, b"".join(message.failures))
