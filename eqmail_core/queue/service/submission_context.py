"""What all submission connections of the queue service share: the store, the limits, and what a Received line needs.

Fails: never.
"""

import time
from collections import Counter
from collections.abc import Callable
from itertools import count

from eqmail_core.dsn.parameters import with_dsn
from eqmail_core.ipc.async_channel import AsyncChannel
from eqmail_core.mail.dates import date822
from eqmail_core.mail.received import invoked_line, invoker_name
from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.format import exit_codes as q
from eqmail_core.queue.limits.limiter import SubmissionLimiter
from eqmail_core.queue.service.accepted_message import AcceptedMessage
from eqmail_core.queue.service.budget import SubmitterBudget
from eqmail_core.queue.service.ports import SubmissionStore

MAX_LOAD = 32 << 20
"""Bytes of complete messages that may wait for the disk before submitting clients are paused; for one ordinary user,
an eighth of it."""


class SubmissionContext:
    """Store, budgets and clock of the submissions.

    `submitter_uids`: the uids of alias, network daemon and scheduler, for the Received line. `accounts`: uids of the
    mail accounts; these may have more of the `memory` for unfinished messages and more of the `descriptors`, of which
    one other user has at most two for each of `per_user` connections (0: no such limit); see SubmitterBudget.
    `on_full()` is called when a budget does not suffice. While `is_open`, paused clients are resumed.
    `limiter`: the limits of submitters, if any.
    """

    def __init__(
        self,
        disk: FileSystem,
        store: SubmissionStore,
        submitter_uids: tuple[int, int, int],
        accounts: set[int],
        memory: int,
        descriptors: int,
        per_user: int,
    ) -> None:
        self.disk = disk
        self.store = store
        self.memory = SubmitterBudget(memory, accounts)
        # A connection takes one descriptor, and so does the file of an unfinished message.
        self.places = SubmitterBudget(descriptors, accounts, 2 * per_user)
        self.is_open = True
        self.limiter: SubmissionLimiter | None = None
        self.on_full: Callable[[], None] = lambda: None
        self._submitter_uids = submitter_uids
        self.accounts = accounts
        self._paused: list[tuple[AsyncChannel, int]] = []
        self._load = 0
        self._load_of: Counter[int] = Counter()
        self._qp = count(1)
        self._dated = (0, b"")

    def now(self) -> int:
        """Seconds since the epoch."""
        return int(time.time())

    def date(self, now: int) -> bytes:
        """Render `now` as in a Received line; at most once a second."""
        if self._dated[0] != now:
            self._dated = now, date822(now)
        return self._dated[1]

    def invoked_by(self, uid: int) -> bytes:
        """Return how the Received line names a client."""
        return invoker_name(uid, *self._submitter_uids)

    def next_qp(self) -> int:
        """Return a unique number for a message of a process that submits several."""
        return next(self._qp) & 0xFFFFFFFF

    def admit(self, uid: int, envelope: bytes | bytearray, end: int) -> tuple[int, bytes]:
        """Return the exit code of qmail-queue and the envelope to store; see `SubmissionLimiter.admit`."""
        if self.limiter is None:
            return q.OK, with_dsn(envelope, end)
        return self.limiter.admit(uid, envelope, end)

    def queue_own(self, uid: int, envelope: bytes, message: bytes, on_failed: Callable[[int], None]) -> None:
        """Queue a message of the service itself; `on_failed` gets the exit code of qmail-queue."""
        now, qp = self.now(), self.next_qp()
        try:
            number = self.store.take_number()
        except OSError:
            on_failed(q.WRITE_ERROR)
            return
        body = invoked_line(qp, self.invoked_by(uid), self.date(now)) + message
        self.store.accept(
            AcceptedMessage(number, now, uid, qp, envelope, body, len(body)),
            lambda code, _: on_failed(code) if code != q.OK else None,
        )

    def is_account(self, uid: int) -> bool:
        """Return whether this is a mail account."""
        return uid in self.accounts

    def make_room(self) -> None:
        """Drop idle unfinished messages of ordinary users."""
        self.on_full()

    def load(self, size: int, channel: AsyncChannel, uid: int) -> None:
        """Note that `size` more bytes wait for the disk, or fewer.

        Over its limit a client waits until half is gone.
        """
        self._load += size
        if uid not in self.accounts:
            self._load_of[uid] += size
            if not self._load_of[uid]:
                del self._load_of[uid]
        if size > 0 and not self._is_loaded(uid, MAX_LOAD):
            return
        if size > 0:
            channel.pause()
            self._paused.append((channel, uid))
        elif self._paused and self.is_open and not self._is_loaded(uid, MAX_LOAD // 2):
            paused, self._paused = self._paused, []
            for waiting, owner in paused:
                if self._is_loaded(owner, MAX_LOAD // 2):
                    self._paused.append((waiting, owner))
                else:
                    waiting.resume()

    def _is_loaded(self, uid: int, limit: int) -> bool:
        return self._load > limit or (uid not in self.accounts and self._load_of[uid] > limit // 8)
