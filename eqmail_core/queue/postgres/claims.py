"""Takes waiting messages that are due, while there is room for them and a scheduler to deliver them.

Fails: never; an error of the database is tried again.
"""

from collections.abc import Callable
from functools import partial

from eqmail_core.queue.postgres.database import NodeIdentity
from eqmail_core.queue.postgres.errors import CommitUnknown
from eqmail_core.queue.postgres.long_bodies import download, spool_path
from eqmail_core.queue.postgres.membership import Membership
from eqmail_core.queue.postgres.stored_message import Claimed
from eqmail_core.queue.postgres.worker import DatabaseWorker
from eqmail_core.queue.service.ports import Clock

CLAIM_AT_ONCE = 64
MAX_CLAIMED = 2000
"""Messages of earlier attempts that this node has at a time, at most."""

CLAIM_EVERY_S = 1.0
RETRY_S = 2.0

_Found = list[tuple[Claimed, OSError | None]]


class Claims:
    """The claims of one node; `held`: the numbers of claimed messages that it still has.

    `folder`: for long bodies.  `may_claim()`: whether there is a lease and a scheduler.  `take(message)` gets each
    claimed message; `release(numbers)` gives messages back.  `is_known(number)`: whether this node knows a message.
    `wall_clock()`: seconds since the epoch.
    """

    def __init__(
        self,
        worker: DatabaseWorker,
        identity: NodeIdentity,
        clock: Clock,
        folder: str,
        membership: Membership,
        may_claim: Callable[[], bool],
        take: Callable[[Claimed], None],
        release: Callable[[list[int]], None],
        is_known: Callable[[int], bool],
        report: Callable[[str], object],
        wall_clock: Callable[[], float],
    ) -> None:
        self.held: set[int] = set()
        self._worker = worker
        self._database = worker.database
        self._identity = identity
        self._clock = clock
        self._folder = folder
        self._membership = membership
        self._may_claim = may_claim
        self._take = take
        self._release = release
        self._is_known = is_known
        self._report = report
        self._wall_clock = wall_clock
        self._is_running = self._has_timer = False

    def claim(self) -> None:
        """Claim now, and again every CLAIM_EVERY_S."""
        if not self._has_timer:
            self._has_timer = True
            self._clock.later(CLAIM_EVERY_S, self._on_timer)
        room = min(MAX_CLAIMED - len(self.held), CLAIM_AT_ONCE)
        if self._is_running or room <= 0 or self._membership.is_draining or not self._may_claim():
            return
        self._is_running = True
        now, homes, epoch = int(self._wall_clock()), self._membership.homes, self._identity.epoch

        def claim_and_fetch() -> _Found:
            return [(claimed, self._fetch(claimed)) for claimed in self._database.claim(now, homes, room)]

        self._worker.run(claim_and_fetch, partial(self._claimed, room, epoch))

    def _on_timer(self) -> None:
        self._has_timer = False
        self.claim()

    def _fetch(self, claimed: Claimed) -> OSError | None:
        """Write a long body to its file, in the thread of the connection."""
        if claimed.body is None:
            try:
                path = spool_path(self._folder, claimed.id)
                download(self._database, path, claimed.id, claimed.chunks, claimed.bounce)
            except OSError as error:
                return error
        return None

    def _claimed(self, room: int, epoch: int, found: _Found | None, error: OSError | None) -> None:
        self._is_running = False
        if found is None:
            if isinstance(error, CommitUnknown):
                self._reconcile()
            return
        if epoch != self._identity.epoch:
            return
        for claimed, problem in found:
            if problem is None:
                self._take(claimed)
            else:
                self._report(f"warning: msg {claimed.id}: cannot fetch its body: {problem.strerror}; will try again")
        self._release([claimed.id for claimed, problem in found if problem is not None])
        if len(found) == room:
            self.claim()

    def _reconcile(self) -> None:
        """Give back what this node owns without knowing of it, after a claim without an answer."""

        def looked(owned: list[int] | None, error: OSError | None) -> None:
            if owned is None:
                self._clock.later(RETRY_S, self._reconcile)
                return
            # Some may be new messages whose answer is on its way; those are known when it has come.
            unknown = [number for number in owned if not self._is_known(number)]
            self._clock.later(2 * RETRY_S, lambda: self._release([n for n in unknown if not self._is_known(n)]))

        self._worker.run(self._database.owned, looked)
