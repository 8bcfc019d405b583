"""Stores new messages in the database and removes ended ones, in groups on several connections.

A message is answered only after its commit.  Where that is unknown the client gets a 4xx, and the message is
withdrawn: removed as soon as the database says what became of it.

Fails: never; an error is an exit code of qmail-queue for a new message, and the removal of an ended one is tried again.
"""

from collections.abc import Callable, Sequence
from functools import partial

from eqmail_core.event_loop.worker_thread import Batcher
from eqmail_core.queue.format import exit_codes as q
from eqmail_core.queue.postgres.database import NewMessage, NodeIdentity
from eqmail_core.queue.postgres.errors import CommitUnknown
from eqmail_core.queue.postgres.long_bodies import remove, spool_path, upload
from eqmail_core.queue.postgres.worker import DatabaseWorker
from eqmail_core.queue.service.accepted_message import AcceptedMessage
from eqmail_core.queue.service.ports import Clock, SubmissionAnswer

GROUP = 64
"""Messages in one transaction, at most."""

FULL = 16
"""Messages that wait for a running transaction before another connection is used: few large groups cost less."""

RETRY_S = 2.0
SWEEP_EVERY_S = 600.0


class _Submission:
    """A message on its way into the database."""

    __slots__ = ("answer", "chunks", "message")

    def __init__(self, message: AcceptedMessage, answer: SubmissionAnswer, chunks: int = 0) -> None:
        self.message = message
        self.answer = answer
        self.chunks = chunks


_Write = _Submission | int
"""What a group writes: a new message, or the number of one that has ended."""


class MessageWriter:
    """Writes with the connections `writers`; `bodies` is the one for long bodies, which are in files in `folder`.

    `stored(message)` follows for a message that is this node's now, and `removed(number)` for one that is gone.
    `is_held(number)`: whether this node still has a message.  `idle()` is called after each group.
    """

    def __init__(
        self,
        writers: Sequence[DatabaseWorker],
        bodies: DatabaseWorker,
        identity: NodeIdentity,
        clock: Clock,
        folder: str,
        stored: Callable[[AcceptedMessage], None],
        removed: Callable[[int], None],
        is_held: Callable[[int], bool],
        idle: Callable[[], None],
        report: Callable[[str], object],
    ) -> None:
        self.weight = 0
        """Bytes of the messages that are not stored yet."""
        self._bodies = bodies
        self._identity = identity
        self._clock = clock
        self._folder = folder
        self._stored = stored
        self._removed = removed
        self._is_held = is_held
        self._idle = idle
        self._report = report
        self._batchers: list[Batcher[_Write, int]] = [
            Batcher(writer, clock.soon, partial(self._write, writer), partial(self._written, writer), GROUP)
            for writer in writers
        ]
        self._is_sweeping = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be written."""
        return all(batcher.is_idle for batcher in self._batchers)

    def store(self, message: AcceptedMessage, answer: SubmissionAnswer) -> None:
        """Store a new message; `answer(code, message)` follows, with code 0 once it is safe."""
        self.weight += message.weight
        submission = _Submission(message, answer)
        if message.body is not None:
            self._add(submission)
            return
        path = spool_path(self._folder, message.number)

        def uploaded(chunks: int | None, error: OSError | None) -> None:
            if chunks is None:
                self._refuse(submission, error)
            else:
                submission.chunks = chunks
                self._add(submission)

        self._bodies.run(partial(upload, self._bodies.database, path, message.number), uploaded)

    def remove(self, number: int) -> None:
        """Remove a message whose every recipient is done."""
        self._add(number)

    def begin(self) -> None:
        """Begin to remove what no message needs: the database answers, and the node has a lease."""
        if not self._is_sweeping:
            self._is_sweeping = True
            self._sweep()

    def _add(self, item: _Write) -> None:
        """Add to a group that waits behind a running one, while it is small; else begin another."""
        waiting = [batcher for batcher in self._batchers if not batcher.is_idle and batcher.waiting < FULL]
        idle = (batcher for batcher in self._batchers if batcher.is_idle)
        found = waiting[0] if waiting else next(idle, min(self._batchers, key=lambda batcher: batcher.waiting))
        found.add(item)

    def _write(self, writer: DatabaseWorker, group: list[_Write]) -> int:
        """Write a group, in the thread of its connection; return the epoch in which it was written."""
        epoch = self._identity.epoch
        new = [
            NewMessage(m.number, m.birth, m.uid, m.qp, m.size, m.envelope, m.body, item.chunks)
            for item in group
            if isinstance(item, _Submission)
            for m in (item.message,)
        ]
        writer.database.accept(new, [item for item in group if isinstance(item, int)])
        return epoch

    def _written(self, writer: DatabaseWorker, group: list[_Write], epoch: int | None, error: OSError | None) -> None:
        if epoch is None:
            self._not_written(writer, group, error)
            return
        for item in group:
            if isinstance(item, int):
                self._removed(item)
                continue
            message = item.message
            self.weight -= message.weight
            item.answer(q.OK, message)
            if epoch == self._identity.epoch:
                self._stored(message)
        self._idle()

    def _not_written(self, writer: DatabaseWorker, group: list[_Write], error: OSError | None) -> None:
        """Refuse new messages, which are withdrawn where they may be stored; write the removals again."""
        unknown = []
        for item in group:
            if not isinstance(item, int):
                if isinstance(error, CommitUnknown):
                    unknown.append(item.message.number)
                self._refuse(item, error)
            elif self._is_held(item):
                self._clock.later(RETRY_S, partial(self._remove_again, item))
        if unknown:
            self._withdraw(writer, unknown)
        self._idle()

    def _remove_again(self, number: int) -> None:
        if self._is_held(number):
            self._add(number)

    def _refuse(self, submission: _Submission, error: OSError | None) -> None:
        message = submission.message
        self._report(f"alert: cannot store a message: {error.strerror if error is not None else 'unknown'}")
        self.weight -= message.weight
        remove(self._folder, message.number, self._report)
        submission.answer(q.WRITE_ERROR, message)

    def _withdraw(self, writer: DatabaseWorker, numbers: list[int]) -> None:
        """Remove messages whose commit was unknown, on the connection that ends the session which sent them."""

        def withdrawn(result: object, error: OSError | None) -> None:
            if error is not None:
                self._clock.later(RETRY_S, lambda: self._withdraw(writer, numbers))

        writer.run(lambda: writer.database.withdraw(numbers), withdrawn)

    def _sweep(self) -> None:
        """Remove pieces of bodies whose messages were never stored, now and regularly."""
        self._bodies.run(self._bodies.database.sweep_chunks, lambda count, error: None)
        self._clock.later(SWEEP_EVERY_S, self._sweep)
