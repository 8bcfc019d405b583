"""The spawner's workers at work: orders and questions go to them, reports come back, and what the dead leave is done.

Fails: OSError when there can be no worker.
Source: architecture section 6; ADR 15.
"""

import os
import selectors
from collections.abc import Callable, Mapping
from functools import partial

from eqmail_core.protocols.agent_wire import DURABLE, PERSONAL, SLOW, AgentOrder
from eqmail_core.services.local.crew import Crew, sync_in_child
from eqmail_core.services.local.worker import Worker
from eqmail_core.system.children import end
from eqmail_core.system.log import say
from eqmail_core.values.local_report import local_report
from eqmail_core.values.outcome import LASTING
from eqmail_core.values.site import Site
from eqmail_core.values.user import LOOKUP_USAGE, User

NAME = "qmail-lspawn"

NO_FORK = b"Zqmail-spawn unable to fork. (#4.3.0)\n"


class Workforce:
    """All who deliver; `report(id, letter, text, fate)` gets what they say, `settle(ids)` what is durable now."""

    def __init__(
        self,
        site: Site,
        default: bytes,
        environ: Mapping[bytes, bytes],
        selector: selectors.BaseSelector,
        with_carrier: bool,
        report: Callable[[int, bytes, bytes, bytes], None],
        settle: Callable[[list[int]], None],
    ) -> None:
        self._selector = selector
        self._report = report
        self._settle = settle
        self._to_push: set[Worker] = set()
        self._crew = Crew(site, default, environ, self._watch, self._unwatch, with_carrier)

    def deliver(self, it: AgentOrder) -> None:
        """Have an order delivered; its descriptor is ours from now on.  Fails: OSError; then it is not."""
        worker = self._crew.worker_for(it.user)
        worker.take(it)
        self._to_push.add(worker)

    def ask(self, number: int, user: User) -> None:
        """Have it found out whether mail for a user would be delivered; a report is the answer.  Fails: OSError."""
        worker = self._crew.worker_for(user)
        worker.be_asked(number, user)
        self._to_push.add(worker)

    def push(self) -> None:
        """Send what was taken; what a worker cannot take now waits until it can.

        One that has died is noticed when the last of its reports has been read, so that none of them is lost.
        """
        for worker in list(self._to_push):
            self._to_push.discard(worker)
            try:
                if not worker.push():
                    both = selectors.EVENT_READ | selectors.EVENT_WRITE
                    self._selector.modify(worker.sock, both, partial(self._ready, worker))
            except OSError:
                pass

    def tidy(self) -> None:
        """Let go of whom nobody needs, and of a carrier that is silent for too long."""
        self._crew.tidy()
        for carrier in self._crew.silent():
            self._crew.cast_off(carrier)
            self._take_over(carrier)

    def _watch(self, worker: Worker) -> None:
        self._selector.register(worker.sock, selectors.EVENT_READ, partial(self._ready, worker))

    def _unwatch(self, worker: Worker) -> None:
        self._selector.unregister(worker.sock)
        self._to_push.discard(worker)

    def _ready(self, worker: Worker, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._selector.modify(worker.sock, selectors.EVENT_READ, partial(self._ready, worker))
            self._to_push.add(worker)
        if events & selectors.EVENT_READ:
            self._heard(worker)

    def _heard(self, worker: Worker) -> None:
        """Pass on what a worker reports."""
        try:
            reports = worker.reports()
        except BlockingIOError:
            return
        except (EOFError, OSError):
            self._lose(worker)
            return
        except ValueError as offence:
            say(NAME, f"alert: {offence}")
            self._lose(worker)
            return
        settled = []
        for number, said in reports:
            if said == DURABLE:
                settled.append(number)
            elif said in (PERSONAL, SLOW):
                self._hand_on(worker, number, said == SLOW)
            else:
                self._report(number, said[1:2], said[2:], said[:1])
        if settled:
            self._settle(settled)

    def _hand_on(self, carrier: Worker, number: int, is_slow: bool) -> None:
        """Give an order or a question that the carrier hands back to the agent of its user."""
        user = carrier.asked.pop(number, None)
        it = None if user is not None else carrier.hand_back(number)
        owner = it.user if it is not None else user
        if is_slow and owner is not None:
            self._crew.keep_from_carrier(owner)
        if it is not None:
            self._to_agent(it)
        elif user is not None:
            self._ask_agent(number, user)

    def _ask_agent(self, number: int, user: User) -> None:
        """Ask the agent of a user, after the carrier has been asked."""
        try:
            agent = self._crew.agent_for(user)
        except OSError:
            self._report(number, NO_FORK[:1], NO_FORK[1:], LASTING)
            return
        agent.be_asked(number, user)
        self._to_push.add(agent)

    def _to_agent(self, it: AgentOrder) -> None:
        """Give an order to the agent of its user, after the carrier has had it."""
        try:
            agent = self._crew.agent_for(it.user)
        except OSError:
            if it.fd >= 0:
                os.close(it.fd)
            self._report(it.number, NO_FORK[:1], NO_FORK[1:], LASTING)
            return
        agent.take(it)
        self._to_push.add(agent)

    def _lose(self, worker: Worker) -> None:
        """A worker has died: an agent's orders are tried again later, the carrier's are given to agents."""
        code = self._crew.bury(worker)
        if worker.is_shared:
            say(NAME, "warning: the carrier has died; its mail goes to agents")
            self._take_over(worker)
            return
        report = local_report(LOOKUP_USAGE if code == LOOKUP_USAGE else -1, b"")
        for number in [*worker.taken, *worker.asked]:
            self._report(number, report[:1], report[1:], LASTING)
        self._settle_for(worker)

    def _take_over(self, carrier: Worker) -> None:
        """Whatever the carrier has left goes to agents: its users have them for now."""
        for it in carrier.taken.values():
            self._to_agent(it)
        for number, user in carrier.asked.items():
            self._ask_agent(number, user)
        self._settle_for(carrier)

    def _settle_for(self, dead: Worker) -> None:
        """Make durable what a worker had delivered."""
        if not dead.unsettled:
            return
        numbers = list(dead.unsettled)
        try:
            pid, sock = sync_in_child()
        except OSError:
            os.sync()
            self._settle(numbers)
            return

        def synced(_events: int) -> None:
            self._selector.unregister(sock)
            sock.close()
            end(pid)
            self._settle(numbers)

        self._selector.register(sock, selectors.EVENT_READ, synced)
