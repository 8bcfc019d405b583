"""This node among the others: its epoch, its lease, and the messages of nodes that are gone.

    begin   a new epoch; what this node had before becomes free
    beat    every BEAT_S: renew the lease, look who else lives, end the epochs of the dead and free their messages
    pause   the lease is over without an answer: nothing may be started until a beat renews it
    lost    another node ended the epoch: all that this node had is another's now; a new epoch begins

Fails: never; an error is reported and tried again.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from eqmail_core.event_loop.worker_thread import Call
from eqmail_core.queue.postgres.database import NodeIdentity
from eqmail_core.queue.postgres.errors import Fenced
from eqmail_core.queue.postgres.homes import homes_of
from eqmail_core.queue.postgres.lease import BEAT_S, LEASE_S, Lease
from eqmail_core.queue.postgres.worker import DatabaseWorker
from eqmail_core.queue.service.ports import Clock
from eqmail_core.system.lease_file import boot_time

RETRY_S = 2.0
FREED_PER_BEAT = 40
"""Transactions that free messages of dead nodes within one beat, at most."""


class _Beat(NamedTuple):
    is_draining: bool
    live: list[int]
    gone: list[str]
    freed: int


class MembershipEvents(NamedTuple):
    """What the owner does when the lease changes; `waiting()` is the number of its messages."""

    begun: Call
    paused: Call
    resumed: Call
    lost: Call
    waiting: Callable[[], int]
    report: Callable[[str], object]


class Membership:
    """The node `name`; `worker` is used by nothing else, so that a beat never waits for messages.

    `record(epoch, until)` tells the other services of each change, before `events`.
    `homes`: those of the destinations that this node looks after.  `boot_clock`: seconds of CLOCK_BOOTTIME.
    """

    def __init__(
        self,
        worker: DatabaseWorker,
        identity: NodeIdentity,
        clock: Clock,
        name: str,
        software: str,
        events: MembershipEvents,
        record: Callable[[int, float], None],
        boot_clock: Callable[[], float] = boot_time,
    ) -> None:
        self.homes: Sequence[int] = ()
        self.is_draining = False
        self.lease = Lease()
        self._worker = worker
        self._database = worker.database
        self._identity = identity
        self._clock = clock
        self._name = name
        self._software = software
        self._events = events
        self._record = record
        self._boot_clock = boot_clock
        self._is_paused = False
        self._is_ended = False

    @property
    def is_active(self) -> bool:
        """Whether this node may act on its messages now."""
        return self.lease.is_valid(self._boot_clock())

    def begin(self) -> None:
        """Begin an epoch, as soon as the database answers."""
        if not self._is_ended:
            self._worker.run(lambda: self._database.start(self._name, self._software), self._begun)

    def end(self, then: Call) -> None:
        """Give the lease back, if the database answers; then call `then`."""
        self._is_ended = True
        self._worker.run(self._database.leave, lambda result, error: then())

    def _begun(self, result: tuple[int, int] | None, error: OSError | None) -> None:
        if error is not None:
            self._events.report(f"alert: the database of the queue: {error.strerror}; new mail is refused for now")
            self._clock.later(RETRY_S, self.begin)
            return
        self._is_paused = False
        self._beat(is_first=True)

    def _beat(self, is_first: bool = False) -> None:
        if self._is_ended:
            return
        sent, waiting = self._boot_clock(), self._events.waiting()
        self._worker.run(lambda: self._look(waiting), lambda beat, error: self._beat_ended(sent, is_first, beat, error))

    def _look(self, waiting: int) -> _Beat:
        """Beat, in the worker's thread."""
        database = self._database
        is_draining = database.beat(LEASE_S, waiting)
        live, gone = database.live_nodes(), database.expire_nodes()
        freed = 0
        for _ in range(FREED_PER_BEAT):
            some = database.free_stale()
            freed += some
            if not some:
                break
        return _Beat(is_draining, live, gone, freed)

    def _beat_ended(self, sent: float, is_first: bool, beat: _Beat | None, error: OSError | None) -> None:
        if isinstance(error, Fenced):
            self.lease.lost()
            self._record(0, 0.0)
            self._events.report("alert: another node took over the messages of this one, whose lease was over")
            self._events.lost()
            self.begin()
            return
        if beat is None:
            self._events.report(f"alert: the database of the queue: {error.strerror if error else ''}; will try again")
            self._clock.later(RETRY_S, partial(self._beat, is_first))
            return
        self.lease.granted(self._identity.epoch, sent)
        self._record(self._identity.epoch, self.lease.until)
        self.is_draining = beat.is_draining
        self.homes = homes_of(self._identity.node, beat.live) if self._identity.node in beat.live else ()
        for name in beat.gone:
            self._events.report(f"warning: node {name} is gone; its messages are taken over")
        if is_first:
            self._events.begun()
        elif self._is_paused:
            self._is_paused = False
            self._events.resumed()
        self._clock.later(BEAT_S, self._beat)
        self._clock.later(self.lease.until - self._boot_clock() + 0.01, self._look_at_lease)

    def _look_at_lease(self) -> None:
        """Pause when the lease is over."""
        if not self.is_active and not self._is_paused and not self._is_ended:
            self._is_paused = True
            self._events.report("alert: the lease of this node is over; no delivery starts until the database answers")
            self._events.paused()
