"""Many Maildir deliveries at once: one look at each home, one sync, one renaming.

Invariant of a batch: every copy is written to tmp/ and is on the disk before any copy gets its name in new/.  The
files of a user are touched only under that user's identity.  The sync between runs under no user's identity.

Where users share the process, no user can delay the others.  Deliveries that take long by their nature get a
subprocess.  A user who takes longer than `BUDGET_S` in one batch all the same gets an agent for a while.

Every problem of an order, even a bug in this program, becomes its report.
Fails: OSError as `SyncBatch`; then the process must end.
Source: docs/INTERNALS.md section 6; ADR 13.
"""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from eqmail_core.local.delivery.home import MAX_BYTES
from eqmail_core.local.delivery.report import local_report
from eqmail_core.local.delivery.request import LocalDelivery
from eqmail_core.local.service.protocol import AgentOrder
from eqmail_core.local.service.sync_batch import SyncBatch
from eqmail_core.local.service.time_budget import BUDGET_S, TimeBudget
from eqmail_core.local.service.user_batch import SHORT_BYTES, BatchResult, UserBatch, has_many_dashes, predicted_result
from eqmail_core.mailbox.maildir import WRITE_ERROR, own_names
from eqmail_core.outcome import DeliveryResult, TemporaryFailure
from eqmail_core.site.site import Site
from eqmail_core.system.privileges import PrivilegeError
from eqmail_core.users.user import LOOKUP_USAGE, User

CANNOT_ASSUME_USER = local_report(LOOKUP_USAGE, b"")

Identity = Callable[[User], AbstractContextManager[object]]
"""Switches to the identity under which files are touched.  Fails: PrivilegeError."""


class MaildirBatch:
    """Delivers batches of orders; `identity` sets the user under which files are touched.

    If all users share the process (`is_shared`), `BatchResult.needs_subprocess` returns orders that may take long.  It
    also returns the orders of users who have taken too long by `clock`.
    """

    def __init__(
        self,
        site: Site,
        default: bytes,
        identity: Identity,
        is_shared: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site = site
        self._default = default
        self._identity = identity
        self._is_shared = is_shared
        self._names = own_names()
        self._sync = SyncBatch()
        self._budget = TimeBudget(BUDGET_S if is_shared else float("inf"), clock)

    @property
    def flush_in_s(self) -> float | None:
        """Seconds until `flush` is due; None while every report is durable."""
        return self._sync.flush_in_s

    def flush(self) -> list[int]:
        """Sync names that are not on the disk yet; return the ids whose reports are durable now."""
        return self._sync.flush()

    def deliver(self, orders: list[AgentOrder]) -> BatchResult:
        """Deliver a batch of orders.

        The descriptors of the orders are closed, except those of orders in `needs_subprocess`.
        """
        result = BatchResult()
        batches = []
        self._budget.renew()
        for mine in _by_user(orders):
            batch = UserBatch(self._site, mine[0].user, self._default, self._names, self._is_shared)
            try:
                with self._budget.of(batch.user), self._identity(batch.user):
                    batch.write(mine, result, self._budget)
            except PrivilegeError:
                result.reports += [(request.number, CANNOT_ASSUME_USER) for request in mine]
            else:
                batches.append(batch)
        for request in set(orders).difference(result.needs_subprocess):
            if request.fd >= 0:
                os.close(request.fd)
        self._publish(batches, result)
        return result

    def check_deliverable(self, questions: list[tuple[int, User]]) -> BatchResult:
        """Predict the result of a delivery to each of these users."""
        result = BatchResult()
        self._budget.renew()
        for number, user in questions:
            with self._budget.of(user):
                if self._budget.is_spent:
                    result.slow.add(number)
                    result.unanswered.append(number)
                    continue
                predicted = self._predict(user)
            if predicted is None:
                result.unanswered.append(number)
            else:
                result.reports.append((number, predicted))
        return result

    def _predict(self, user: User) -> DeliveryResult | None:
        """Predict the result of a delivery; None if finding out may take long."""
        if self._is_shared and has_many_dashes(user.ext):
            return None
        limit_bytes = SHORT_BYTES if self._is_shared else MAX_BYTES
        try:
            with self._identity(user):
                return predicted_result(user, self._default, self._site.patrn, limit_bytes)
        except PrivilegeError:
            return CANNOT_ASSUME_USER

    def _publish(self, batches: list[UserBatch], result: BatchResult) -> None:
        """Sync all copies, then give them their names."""
        copies = [copy for visit in batches for _, mine in visit.written for copy in mine]
        problem = None
        if copies:
            try:
                result.durable = self._sync.sync(copies)
            except OSError:
                problem = TemporaryFailure(WRITE_ERROR)
        for batch in batches:
            if batch.maildirs:
                try:
                    with self._identity(batch.user):
                        batch.publish(result, problem)
                except PrivilegeError:
                    # The copies stay in tmp/, where only their owner may remove them, until the clean-up of tmp/.
                    batch.publish(result, TemporaryFailure(CANNOT_ASSUME_USER.text[:-1]))
            else:
                batch.publish(result, problem)
            for number in batch.named:
                self._sync.named(number)
            for maildir in batch.maildirs:
                self._sync.hold_open(maildir)


def _by_user(orders: list[AgentOrder]) -> list[list[AgentOrder]]:
    """Group the orders by user, in order of arrival."""
    found: dict[tuple[int, int, bytes, bytes], list[AgentOrder]] = {}
    for request in orders:
        found.setdefault((request.user.uid, request.user.gid, request.user.home, request.user.dash), []).append(request)
    return list(found.values())


def delivery_of(default: bytes, request: AgentOrder) -> LocalDelivery:
    """Convert one order into a single delivery."""
    user = request.user
    message = (request.host, request.sender, default, request.name, request.dsn)
    return LocalDelivery(user.name, user.home, request.local, user.dash, user.ext, *message)
