"""Groups records and tombstones into commits of the journal.

What is added while one commit runs is the next group. Tombstones go with the next records, or alone after a moment.

Fails: never; after a failed commit the owner decides about the records, and the tombstones are tried again.
"""

from collections.abc import Callable, Iterable

from eqmail_core.event_loop.worker_thread import Batcher, Executor
from eqmail_core.queue.service.accepted_message import COMMITTING, AcceptedMessage
from eqmail_core.queue.service.journal import SEGMENT_SIZE, Journal
from eqmail_core.queue.service.journal_segment import Segment
from eqmail_core.queue.service.ports import Clock, SubmissionAnswer

TOMBSTONE_BATCH = 1000
TOMBSTONE_DELAY_S = 1.0
RETRY_S = 5.0

Record = tuple[AcceptedMessage, SubmissionAnswer | None]
"""A message to record, and the callback that gets the answer."""

_Item = tuple[bool, AcceptedMessage, SubmissionAnswer | None]


class JournalWriter:
    """Writes the journal in the thread of `worker`.

    `on_committed(records, ended)` follows every commit, `on_failed(records, error)` every one that failed.
    `has_failed`: the last commit failed.
    """

    def __init__(
        self,
        journal: Journal,
        worker: Executor,
        clock: Clock,
        on_committed: Callable[[list[Record], list[AcceptedMessage]], None],
        on_failed: Callable[[list[Record], OSError | None], None],
    ) -> None:
        self.has_failed = False
        self._journal = journal
        self._clock = clock
        self._on_committed = on_committed
        self._on_failed = on_failed
        self._ended: list[AcceptedMessage] = []
        self._timer_runs = False
        self._moved: tuple[int, Segment | None] = 0, None
        self._batcher: Batcher[_Item, list[tuple[AcceptedMessage, Segment]]] = Batcher(
            worker, clock.soon, self._commit, self._committed
        )

    @property
    def is_idle(self) -> bool:
        """Whether no commit runs or is due; tombstones may wait."""
        return self._batcher.is_idle

    @property
    def has_ended(self) -> bool:
        """Whether tombstones wait."""
        return bool(self._ended)

    def record(self, message: AcceptedMessage, answer: SubmissionAnswer | None) -> None:
        """Record a message with the next group, and the tombstones that wait."""
        self._batcher.add((False, message, answer))
        self.write_tombstones()

    def record_again(self, message: AcceptedMessage) -> None:
        """Record a message once more, so that its segment becomes free."""
        self._batcher.add((False, message, None))

    def end(self, message: AcceptedMessage, at_once: bool) -> None:
        """Write the tombstone of a message soon."""
        self._ended.append(message)
        if at_once or len(self._ended) >= TOMBSTONE_BATCH:
            self.write_tombstones()
        else:
            self._delay(TOMBSTONE_DELAY_S)

    def end_later(self, message: AcceptedMessage) -> None:
        """Write the tombstone of a message with those that wait already."""
        self._ended.append(message)

    def write_tombstones(self) -> None:
        """Add the tombstones of ended messages to the next group."""
        ended, self._ended = self._ended, []
        for message in ended:
            self._batcher.add((True, message, None))

    def make_room(self, messages: Iterable[AcceptedMessage], weight: int) -> None:
        """Record messages again to free a segment, once per turn of the ring.

        They are those of a suspect segment, or of the oldest if it has few.  `messages`: all in the journal, and
        `weight` their bytes.
        """
        journal = self._journal
        crowded = journal.messages_to_move()
        if crowded is None or self._moved == (journal.epoch, crowded):
            return
        self._moved = journal.epoch, crowded
        some = [m for m in messages if m.segment is crowded and m.state != COMMITTING]
        moved_weight = sum(m.weight for m in some)
        if crowded.is_suspect or moved_weight <= SEGMENT_SIZE // 4 or journal.is_longer_than_needed(weight):
            for message in some:
                self.record_again(message)

    def _delay(self, seconds: float) -> None:
        if not self._timer_runs:
            self._timer_runs = True
            self._clock.later(seconds, self._timer)

    def _timer(self) -> None:
        self._timer_runs = False
        self.write_tombstones()

    def _commit(self, group: list[_Item]) -> list[tuple[AcceptedMessage, Segment]]:
        """Commit in the journal's thread: records first, then tombstones.

        So no tombstone precedes a record of its message.
        """
        return self._journal.commit(
            [message for is_end, message, _ in group if not is_end],
            [message.serial for is_end, message, _ in group if is_end],
        )

    def _committed(
        self, group: list[_Item], recorded: list[tuple[AcceptedMessage, Segment]] | None, error: OSError | None
    ) -> None:
        records = [(message, answer) for is_end, message, answer in group if not is_end]
        ended = [message for is_end, message, _ in group if is_end]
        if recorded is None:
            self.has_failed = True
            self._ended += ended
            self._delay(RETRY_S)
            self._on_failed(records, error)
            return
        for message, segment in recorded:
            self._journal.is_recorded(message, segment)
        self.has_failed = False
        for message in ended:
            self._journal.release(message)
        self._on_committed(records, ended)
