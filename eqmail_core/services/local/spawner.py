"""The local spawner: takes the scheduler's orders as root, finds whose they are, and has that user deliver them.

The only part of the system that stays root while it handles mail, so it reads none of it: an order is checked (its
message belongs to the queue and nobody can change it), given to the agent of its user, and its report passed on.

Fails: KeyError when the accounts of the queue are missing, OSError when the machine lacks the means to work at all.
Source: queue.md 3.11; architecture section 6.
"""

import os
import pwd
import selectors
import signal
import socket
import time
from collections.abc import Callable
from functools import partial

from eqmail_core.protocols import delivery_wire
from eqmail_core.protocols.agent_wire import DURABLE, AgentOrder
from eqmail_core.services.local.crew import Agent, Crew, sync_in_child
from eqmail_core.services.local.line import Line
from eqmail_core.services.local.lookups import LookUpDesk, Question
from eqmail_core.services.local.order import Order, objection
from eqmail_core.services.local.owners import Answer, Owners
from eqmail_core.system.children import end
from eqmail_core.system.installation import HOME_VARIABLE
from eqmail_core.system.log import say
from eqmail_core.system.sockets import peer_credentials
from eqmail_core.values.local_report import local_report
from eqmail_core.values.outcome import DONE
from eqmail_core.values.site import Site
from eqmail_core.values.user import LOOKUP_ROOT, LOOKUP_USAGE

NAME = "qmail-lspawn"

NO_FORK = b"Zqmail-spawn unable to fork. (#4.3.0)\n"

_TICK_S = 5.0


def run(site: Site, default_delivery: bytes, listener: socket.socket, asked_at: socket.socket | None = None) -> None:
    """Serve schedulers until TERM; the orders taken by then are still delivered and reported.

    On `asked_at`, if it is given, the SMTP server asks about recipients.
    """
    Spawner(site, default_delivery, listener, asked_at).run()


class Spawner:
    """The state of the service: its lines to schedulers, its people, and the orders that are not settled."""

    def __init__(
        self, site: Site, default_delivery: bytes, listener: socket.socket, asked_at: socket.socket | None = None
    ) -> None:
        self._site = site
        self._listener = listener
        self._owner = os.getuid()
        self._welcome = {os.getuid()}
        if not site.single_user:
            self._owner = pwd.getpwnam(site.accounts.user("qmailq")).pw_uid
            self._welcome.add(pwd.getpwnam(site.accounts.user("qmails")).pw_uid)
        environ = dict(os.environb)
        environ[HOME_VARIABLE] = os.fsencode(site.home)
        self._selector = selectors.DefaultSelector()
        self._crew = Crew(site, default_delivery, environ, self._watch_agent, self._unwatch)
        self._owners = Owners(site, self._selector)
        self._orders: dict[int, Order] = {}
        self._questions: dict[int, Question] = {}
        self._last_number = 0
        self._to_push: set[Agent] = set()
        self._lines: set[Line] = set()
        self._leaving = False
        self._desk: LookUpDesk | None = None
        if asked_at is not None:
            askers = {os.getuid()} if site.single_user else {0, pwd.getpwnam(site.accounts.user("qmaild")).pw_uid}
            self._desk = LookUpDesk(self._selector, asked_at, askers, self._owners, self._ask)

    def run(self) -> None:
        """Serve until TERM."""
        wake, woken = socket.socketpair()
        for end_of_pair in (wake, woken):
            end_of_pair.setblocking(False)
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._leave)
        self._watch(wake, lambda _events: wake.recv(64))
        self._listener.setblocking(False)
        self._watch(self._listener, self._accept)
        tick = time.monotonic() + _TICK_S
        while not (self._leaving and self._is_done()):
            for key, events in self._selector.select(max(0.0, tick - time.monotonic())):
                key.data(events)
            for agent in list(self._to_push):
                self._push(agent)
            if self._leaving:
                for line in self._lines:
                    line.pause()
            if time.monotonic() >= tick:
                tick = time.monotonic() + _TICK_S
                self._crew.dismiss_idle()
                self._lines = {line for line in self._lines if not line.closed}
                if self._desk is not None:
                    self._desk.tidy()

    def _leave(self, _number: int, _frame: object) -> None:
        """TERM: no more orders, see `run`."""
        self._leaving = True

    def _is_done(self) -> bool:
        return not self._orders and all(line.is_drained for line in self._lines)

    def _watch(self, sock: socket.socket, handler: Callable[[int], object]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, handler)

    def _unwatch(self, agent: Agent) -> None:
        self._selector.unregister(agent.sock)
        self._to_push.discard(agent)

    def _accept(self, _events: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        if peer_credentials(sock).uid not in self._welcome or self._leaving:
            sock.close()
            return
        self._lines.add(Line(self._selector, sock, self._take))

    # Orders coming in.

    def _take(self, line: Line, packet: bytes, fd: int) -> None:
        """Check an order and find out whose it is."""
        try:
            it = delivery_wire.split_order(packet)
        except ValueError:
            say(NAME, "warning: unintelligible order, hanging up")
            line.close()
            if fd >= 0:
                os.close(fd)
            return
        number = self._next_number()
        order = self._orders[number] = Order(line, it, fd)
        trouble = objection(it.recipient, fd, self._owner)
        if trouble:
            self._refuse(number, trouble)
        elif not order.local:
            self._refuse(number, DONE)
        else:
            self._owners.find(order.local, partial(self._give, number))

    def _next_number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _give(self, number: int, user: Answer) -> None:
        """Give an order to the agent of its user."""
        found = self._agent_of(user)
        if isinstance(found, bytes):
            self._refuse(number, found)
            return
        agent, ext = found
        it = self._orders[number]
        agent.take(AgentOrder(number, it.name, it.local, ext, it.host, it.sender, it.fd))
        it.fd = -1
        self._to_push.add(agent)

    def _agent_of(self, user: Answer) -> tuple[Agent, bytes] | bytes:
        """The agent of a user, and the extension that is the user's to arrange; or the report that there is none.

        Nothing is delivered as root, except for a root who has set up an installation for nobody but itself.
        """
        if not isinstance(user, int) and user.uid == 0 and not self._site.single_user:
            user = LOOKUP_ROOT
        if isinstance(user, int):
            return local_report(user, b"")
        try:
            return self._crew.agent_for(user), user.ext
        except OSError:
            return NO_FORK

    def _refuse(self, number: int, report: bytes) -> None:
        """Report an order that no agent gets."""
        self._orders[number].drop_message()
        self._report(number, report[:1], report[1:], True)

    def _report(self, number: int, letter: bytes, text: bytes, durable: bool) -> None:
        question = self._questions.pop(number, None)
        if question is not None:
            question.report(letter)
            return
        order = self._orders.pop(number) if durable else self._orders[number]
        order.report(letter, text, durable)

    def _ask(self, question: Question, user: Answer) -> None:
        """Ask the agent of a user whether it would deliver to a recipient."""
        found = self._agent_of(user)
        if isinstance(found, bytes):
            question.report(found[:1])
            return
        agent, ext = found
        number = self._next_number()
        self._questions[number] = question
        agent.be_asked(number, ext)
        self._to_push.add(agent)

    # Agents.

    def _watch_agent(self, agent: Agent) -> None:
        self._watch(agent.sock, partial(self._ready, agent))

    def _ready(self, agent: Agent, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._selector.modify(agent.sock, selectors.EVENT_READ, partial(self._ready, agent))
            self._to_push.add(agent)
        if events & selectors.EVENT_READ:
            self._heard(agent)

    def _push(self, agent: Agent) -> None:
        """Send an agent its orders; what it cannot take now waits until it can.

        One that has died is noticed when the last of its reports has been read, so that none of them is lost.
        """
        self._to_push.discard(agent)
        try:
            if not agent.push():
                both = selectors.EVENT_READ | selectors.EVENT_WRITE
                self._selector.modify(agent.sock, both, partial(self._ready, agent))
        except OSError:
            pass

    def _heard(self, agent: Agent) -> None:
        """Pass on what an agent reports."""
        try:
            reports = agent.reports()
        except BlockingIOError:
            return
        except (EOFError, OSError):
            self._lose(agent)
            return
        except ValueError as offence:
            say(NAME, f"alert: {offence}")
            self._lose(agent)
            return
        settled = []
        for number, said in reports:
            if said == DURABLE:
                settled.append(number)
            else:
                self._report(number, said[1:2], said[2:], said[:1] == b"1")
        if settled:
            self._settle(settled)

    def _settle(self, numbers: list[int]) -> None:
        """Tell the schedulers that these reports have become durable."""
        serials: dict[Line, list[int]] = {}
        for number in numbers:
            order = self._orders.pop(number)
            serials.setdefault(order.line, []).append(order.serial)
        for line, mine in serials.items():
            line.send(delivery_wire.durable(mine))

    def _lose(self, agent: Agent) -> None:
        """An agent has died: its orders are tried again later, and what it had delivered is made durable for it."""
        code = self._crew.bury(agent)
        report = local_report(LOOKUP_USAGE if code == LOOKUP_USAGE else -1, b"")
        for number in agent.unreported:
            self._report(number, report[:1], report[1:], True)
        if not agent.unsettled:
            return
        numbers = list(agent.unsettled)
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

        self._watch(sock, synced)
