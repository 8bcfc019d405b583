"""State of one channel of the scheduler.

Delivery slots, open attempts, due messages, and the lists being read.
"""

from collections import deque

from eqmail_core.queue.format.channels import CHANNELS, HELD_UNTIL
from eqmail_core.scheduler.destination_queues import DestinationQueues
from eqmail_core.scheduler.due_queue import DueQueue
from eqmail_core.scheduler.ports import Deliverer, Delivery, Job

Record = tuple[int, int, bytes]
"""Offset, mark and address of a recipient."""


class ChannelState:
    """One channel's messages, attempts and delivery slots.

    `waiting`: new messages in memory; `due`: older ones on the disk; `job`: the attempt whose list is being read.

    With a `room` (destination queues), recipients wait there for their destinations. `stalled`: attempts with more
    recipients for one destination than it has room for, each with the record that did not fit; they are read on later.
    `postponed`: numbers of messages that wait because of a suspended domain.
    Without a room, messages take turns. `resting`: attempts that have had their turn; `turn`: deliveries of the current
    one.
    """

    __slots__ = (
        "deliverer",
        "due",
        "index",
        "job",
        "label",
        "limit",
        "next_source",
        "open",
        "postponed",
        "resting",
        "room",
        "stalled",
        "turn",
        "used_slots",
        "waiting",
    )

    def __init__(self, index: int, deliverer: Deliverer, limit: int) -> None:
        self.index = index
        self.label = CHANNELS[index].encode()
        self.deliverer = deliverer
        self.limit = limit
        self.used_slots = 0
        self.due = DueQueue()
        self.waiting: deque[Job] = deque()
        self.next_source = 0
        self.turn = 0
        self.resting: deque[Job] = deque()
        self.job: Job | None = None
        self.open: dict[int, Job] = {}
        self.postponed: set[int] = set()
        self.room: DestinationQueues[Delivery] | None = None
        self.stalled: deque[tuple[Job, Record]] = deque()

    @property
    def has_free_slot(self) -> bool:
        """Whether one more delivery could start."""
        return self.used_slots < self.limit and self.deliverer.is_ready()

    def others_wait(self, now: int) -> bool:
        """Whether another message could have its turn now."""
        due = self.due.wakes_at()
        return bool(self.waiting or self.resting) or (due is not None and due <= now)

    def wakes_at(self) -> float | None:
        """Return when something that waits may be tried; None without a free slot or with nothing waiting."""
        if not self.has_free_slot:
            return None
        times = (self.due.wakes_at(), None if self.room is None else self.room.wakes_at())
        return min((time for time in times if time is not None), default=None)

    def set_back(self, seconds: int) -> None:
        """Adjust to a clock that was set back: everything due keeps its distance from now."""
        self.due.set_back(seconds)
        for job in self.open.values():
            job.set_back(seconds)
        if self.room is not None:
            self.room.set_back(seconds)

    def resume(self, now: int) -> None:
        """Make due what waits because of a suspended domain; what is still suspended is postponed again."""
        numbers, self.postponed = self.postponed, set()
        if not numbers:
            return
        self.due.retry_all(now, numbers)
        for job in self.open.values():
            if job.number in numbers and job.retry < HELD_UNTIL:
                job.retry = min(job.retry, now)

    def suspend(self, number: int | None = None) -> list[Job]:
        """Start no more deliveries for now, of this message or of any.

        Returns the attempts that lost a reference.

        An attempt is listed once per lost reference.
        """
        gone = []
        if self.job is not None and number in (None, self.job.number):
            gone.append(self.job)
            self.job = None
        for stalled in [stalled for stalled in self.stalled if number in (None, stalled[0].number)]:
            self.stalled.remove(stalled)
            gone.append(stalled[0])
        for job in [job for job in self.resting if number in (None, job.number)]:
            self.resting.remove(job)
            gone.append(job)
        if self.room is not None:
            gone += [delivery.job for delivery in self.room.remove(lambda item: number in (None, item.job.number))]
        return gone
