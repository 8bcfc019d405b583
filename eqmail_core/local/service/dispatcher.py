"""Dispatches orders and questions to workers, and recovers the work of dead workers.

Fails: OSError when no worker can be started.
Source: ADR 15.
"""

import os
import selectors
import time
from collections.abc import Callable, Mapping
from functools import partial

from eqmail_core.local.delivery.report import local_report
from eqmail_core.local.service.protocol import BECAME_DURABLE, NAME, SLOW, AgentOrder
from eqmail_core.local.service.worker import WorkerHandle
from eqmail_core.local.service.worker_pool import WorkerPool, sync_in_child
from eqmail_core.outcome import TEMPORARY, DeliveryResult
from eqmail_core.site.site import Site
from eqmail_core.spawn.protocol import NO_FORK
from eqmail_core.system.child import end_child
from eqmail_core.system.repeated_lines import say_seldom
from eqmail_core.users.user import LOOKUP_USAGE, User

NO_SLOT = DeliveryResult(TEMPORARY, b"This user has as many deliveries under way as one user may have. (#4.3.2)\n")
SILENT = DeliveryResult(TEMPORARY, b"qmail-local gave no sign of life and was ended. (#4.3.0)\n")


class Dispatcher:
    """Distributes orders among the agents and the carrier.

    `report(id, result)` receives the results, `mark_durable(ids)` the reports that have become durable.  One
    account has at most `at_once` orders in progress.  Further orders wait for a moment and are then deferred.
    """

    def __init__(
        self,
        site: Site,
        default: bytes,
        environ: Mapping[bytes, bytes],
        selector: selectors.BaseSelector,
        with_carrier: bool,
        at_once: int,
        report: Callable[[int, DeliveryResult], None],
        mark_durable: Callable[[list[int]], None],
    ) -> None:
        self._selector = selector
        self._report = report
        self._mark_durable = mark_durable
        self._to_push: set[WorkerHandle] = set()
        self._unsynced: list[int] = []
        self._is_syncing = False
        self._pool = WorkerPool(site, default, environ, self._watch, self._unwatch, with_carrier, at_once)

    def deliver(self, request: AgentOrder) -> None:
        """Give an order to a worker and take over its descriptor.

        Fails: OSError; the descriptor then stays with the caller.
        """
        worker = self._pool.worker_for(request.user)
        self._give(worker, request)

    def _give(self, worker: WorkerHandle, request: AgentOrder) -> None:
        if worker.is_full(time.monotonic()):
            self._refuse(request, NO_SLOT)
            return
        worker.accept(request)
        self._to_push.add(worker)

    def _refuse(self, request: AgentOrder, result: DeliveryResult) -> None:
        """Report an order that goes to no worker."""
        if request.fd >= 0:
            os.close(request.fd)
            request.fd = -1
        self._report(request.number, result)

    def ask(self, number: int, user: User) -> None:
        """Ask whether mail for a user is deliverable; a report is the answer.  Fails: OSError."""
        worker = self._pool.worker_for(user)
        worker.ask(number, user)
        self._to_push.add(worker)

    def push(self) -> None:
        """Send accepted orders; what a worker cannot receive now waits until it can.

        A dead worker is detected only after its last report has been read, so that no report is lost.
        """
        for worker in list(self._to_push):
            self._to_push.discard(worker)
            try:
                if not worker.push():
                    both = selectors.EVENT_READ | selectors.EVENT_WRITE
                    self._selector.modify(worker.sock, both, partial(self._ready, worker))
            except OSError:
                pass

    def expire(self) -> None:
        """Close idle workers, kill silent ones, refuse orders that waited too long for a slot."""
        self._pool.expire()
        self._sync()
        for worker in self._pool.silent():
            self._pool.kill(worker)
            if worker.is_shared:
                self._redeliver_orders_of(worker)
            else:
                self._give_up(worker, SILENT)
        self._pool.probe()
        now = time.monotonic()
        for agent in self._pool.agents():
            for request in agent.take_overdue(now):
                self._refuse(request, NO_SLOT)

    def _watch(self, worker: WorkerHandle) -> None:
        self._selector.register(worker.sock, selectors.EVENT_READ, partial(self._ready, worker))

    def _unwatch(self, worker: WorkerHandle) -> None:
        self._selector.unregister(worker.sock)
        self._to_push.discard(worker)

    def _ready(self, worker: WorkerHandle, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._selector.modify(worker.sock, selectors.EVENT_READ, partial(self._ready, worker))
            self._to_push.add(worker)
        if events & selectors.EVENT_READ:
            self._on_reports(worker)

    def _on_reports(self, worker: WorkerHandle) -> None:
        """Pass on the reports of a worker."""
        try:
            reports = worker.reports()
        except BlockingIOError:
            return
        except (EOFError, OSError):
            self._lose(worker)
            return
        except ValueError as offence:
            say_seldom(NAME, f"alert: {offence}")
            self._lose(worker)
            return
        self._to_push.add(worker)
        durable = []
        for number, result in reports:
            if isinstance(result, DeliveryResult):
                self._report(number, result)
            elif result == BECAME_DURABLE:
                durable.append(number)
            else:
                self._hand_on(worker, number, result == SLOW)
        if durable:
            self._mark_durable(durable)

    def _hand_on(self, carrier: WorkerHandle, number: int, is_slow: bool) -> None:
        """Give an order or a question that the carrier returned to the agent of its user."""
        user = carrier.asked.pop(number, None)
        request = None if user is not None else carrier.hand_back(number)
        owner = request.user if request is not None else user
        if is_slow and owner is not None:
            self._pool.keep_from_carrier(owner)
        if request is not None:
            self._hand_to_agent(request)
        elif user is not None:
            self._ask_agent(number, user)

    def _ask_agent(self, number: int, user: User) -> None:
        """Ask the agent of a user, after the carrier returned the question."""
        try:
            agent = self._pool.agent_for(user)
        except OSError:
            self._report(number, NO_FORK)
            return
        agent.ask(number, user)
        self._to_push.add(agent)

    def _hand_to_agent(self, request: AgentOrder) -> None:
        """Give an order to the agent of its user, after the carrier returned it."""
        try:
            agent = self._pool.agent_for(request.user)
        except OSError:
            self._refuse(request, NO_FORK)
            return
        self._give(agent, request)

    def _lose(self, worker: WorkerHandle) -> None:
        """Handle the death of a worker: an agent's orders are deferred, the carrier's go to agents."""
        code = self._pool.reap(worker)
        if worker.is_shared:
            say_seldom(NAME, "warning: the carrier has died; its mail goes to agents")
            self._redeliver_orders_of(worker)
            return
        self._give_up(worker, local_report(LOOKUP_USAGE if code == LOOKUP_USAGE else -1, b""))

    def _give_up(self, agent: WorkerHandle, result: DeliveryResult) -> None:
        """Report the unfinished orders and questions of an agent."""
        for number in [*agent.taken, *agent.asked]:
            self._report(number, result)
        self._flush_for(agent)

    def _redeliver_orders_of(self, carrier: WorkerHandle) -> None:
        """Give the unfinished orders and questions of the carrier to agents.

        The users concerned keep their agents for a while.
        """
        for request in carrier.taken.values():
            self._hand_to_agent(request)
        for number, user in carrier.asked.items():
            self._ask_agent(number, user)
        self._flush_for(carrier)

    def _flush_for(self, dead: WorkerHandle) -> None:
        """Make durable what a dead worker had delivered."""
        self._unsynced += dead.not_durable
        self._sync()

    def _sync(self) -> None:
        """Sync the disks in a child process, one run at a time; without a child, retry later."""
        if not self._unsynced or self._is_syncing:
            return
        try:
            pid, sock = sync_in_child()
        except OSError:
            return
        self._is_syncing = True
        numbers, self._unsynced = self._unsynced, []

        def synced(_events: int) -> None:
            self._selector.unregister(sock)
            sock.close()
            end_child(pid)
            self._is_syncing = False
            self._mark_durable(numbers)
            self._sync()

        self._selector.register(sock, selectors.EVENT_READ, synced)
