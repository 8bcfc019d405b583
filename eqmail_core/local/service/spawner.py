"""The local spawner: accepts the scheduler's orders as root and has workers deliver them.

It stays root while it handles mail, so it reads no message.  It checks an order: the message must belong to the queue
and be unchangeable.  It gives the order to the carrier or to the agent of its user, and passes on the report.

Fails: KeyError when the accounts of the queue are missing; OSError when the system lacks the resources to work at all.
Source: queue.md 3.11; ADR 7.
"""

import os
import pwd
import selectors
import signal
import socket
import time
from collections.abc import Callable
from functools import partial

from eqmail_core.event_loop.listener import Listener
from eqmail_core.ipc import delivery_protocol as delivery_wire
from eqmail_core.ipc.background_close import close_aside
from eqmail_core.ipc.selector_channel import SelectorChannel
from eqmail_core.local.delivery.report import local_report
from eqmail_core.local.delivery.request import inherited
from eqmail_core.local.service.dispatcher import Dispatcher
from eqmail_core.local.service.order import PendingDelivery
from eqmail_core.local.service.protocol import NAME, AgentOrder
from eqmail_core.local.service.recipient_lookup import LookupQuery, RecipientLookupServer
from eqmail_core.local.service.user_lookup import UserLookup, UserLookupAnswer
from eqmail_core.local.service.worker import NO_BOUND
from eqmail_core.outcome import DONE, NOT_DURABLE, DeliveryResult
from eqmail_core.service.readiness import tell_ready
from eqmail_core.site.layout import HOME_VARIABLE
from eqmail_core.site.site import Site
from eqmail_core.spawn.protocol import LEASE_IS_OVER, NO_FORK
from eqmail_core.spawn.request_check import rejection
from eqmail_core.system.lease_file import LeaseFile
from eqmail_core.system.repeated_lines import say_seldom
from eqmail_core.users.user import LOOKUP_ROOT

_TICK_S = 1.0

MAX_LINES = 16
"""Maximum number of connected schedulers; there is one, and its successor during a restart."""

MAX_ORDERS = 2000
"""Maximum number of orders without a durable report; at this limit no more are read."""


def run(
    site: Site,
    default_delivery: bytes,
    listener: socket.socket,
    asked_at: socket.socket | None = None,
    with_carrier: bool = True,
    at_once: int = NO_BOUND,
) -> None:
    """Serve schedulers until TERM; orders accepted by then are still delivered and reported.

    On `asked_at`, if given, the SMTP server asks about recipients.  With a carrier, which needs root, one process
    delivers plain mail for all users.  Everything else of one account is done for at most `at_once` orders at a time.
    """
    LocalSpawner(site, default_delivery, listener, asked_at, with_carrier and os.getuid() == 0, at_once).run()


class LocalSpawner:
    """The state of the service: schedulers, workers, and orders without a durable report."""

    def __init__(
        self,
        site: Site,
        default_delivery: bytes,
        listener: socket.socket,
        asked_at: socket.socket | None,
        with_carrier: bool,
        at_once: int,
    ) -> None:
        self._site = site
        self._lease = LeaseFile(site.queue.lease)
        self._owner = os.getuid()
        allowed_uids = {os.getuid()}
        if not site.single_user:
            self._owner = pwd.getpwnam(site.accounts.user("qmailq")).pw_uid
            allowed_uids.add(pwd.getpwnam(site.accounts.user("qmails")).pw_uid)
        environ = inherited(os.environb)
        environ[HOME_VARIABLE] = os.fsencode(site.home)
        self._selector = selectors.DefaultSelector()
        self._listener = Listener(self._selector, listener, allowed_uids, self._accept_scheduler, NAME)
        can_carry = with_carrier and not site.single_user
        self._workers = Dispatcher(
            site, default_delivery, environ, self._selector, can_carry, at_once, self._report, self._mark_durable
        )
        self._user_lookup = UserLookup(site, self._selector)
        self._deliveries: dict[int, PendingDelivery] = {}
        self._questions: dict[int, LookupQuery] = {}
        self._last_number = 0
        self._lines: set[SelectorChannel] = set()
        self._leaving = False
        self._is_full = False
        self._lookup_server: RecipientLookupServer | None = None
        if asked_at is not None:
            clients = {os.getuid()} if site.single_user else {0, pwd.getpwnam(site.accounts.user("qmaild")).pw_uid}
            self._lookup_server = RecipientLookupServer(self._selector, asked_at, clients, self._user_lookup, self._ask)

    def run(self) -> None:
        """Serve until TERM."""
        wake, woken = socket.socketpair()
        for end_of_pair in (wake, woken):
            end_of_pair.setblocking(False)
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._leave)
        self._watch(wake, lambda _events: wake.recv(64))
        tell_ready()
        tick = time.monotonic() + _TICK_S
        while not (self._leaving and self._is_done()):
            for key, events in self._selector.select(max(0.0, tick - time.monotonic())):
                key.data(events)
            self._workers.push()
            is_full = self._leaving or len(self._deliveries) >= MAX_ORDERS
            if is_full != self._is_full:
                self._is_full = is_full
                for line in self._lines:
                    line.read(not is_full)
            if time.monotonic() >= tick:
                tick = time.monotonic() + _TICK_S
                self._workers.expire()
                self._user_lookup.expire()
                self._listener.expire()
                self._lines = {line for line in self._lines if not line.closed}
                if self._lookup_server is not None:
                    self._lookup_server.expire()

    def _leave(self, _number: int, _frame: object) -> None:
        """Handle TERM: accept no more orders, see `run`."""
        self._leaving = True

    def _is_done(self) -> bool:
        return not self._deliveries and all(line.is_drained for line in self._lines)

    def _watch(self, sock: socket.socket, handler: Callable[[int], object]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, handler)

    def _accept_scheduler(self, sock: socket.socket) -> None:
        """Accept a scheduler."""
        if self._leaving or len(self._lines) >= MAX_LINES:
            close_aside(sock.detach())
            return
        line = SelectorChannel(self._selector, sock, self._on_request, takes_descriptors=True)
        self._lines.add(line)
        line.read(not self._is_full)

    # Incoming orders.

    def _on_request(self, line: SelectorChannel, packet: bytes, fd: int) -> None:
        """Check an order and look up its user."""
        try:
            request = delivery_wire.split_order(packet)
        except ValueError:
            say_seldom(NAME, "warning: unintelligible order, hanging up")
            line.close()
            if fd >= 0:
                close_aside(fd)
            return
        number = self._next_number()
        order = self._deliveries[number] = PendingDelivery(line, request, fd)
        problem = rejection(request.recipient, fd, self._owner)
        if problem is not None:
            self._refuse(number, problem)
        elif not order.local:
            self._refuse(number, DeliveryResult(DONE, b""))
        else:
            self._user_lookup.find(order.local, partial(self._hand_to_worker, number))

    def _next_number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _hand_to_worker(self, number: int, user: UserLookupAnswer) -> None:
        """Give an order to a worker of its user."""
        owner = self._deliverable(user)
        if isinstance(owner, int):
            self._refuse(number, local_report(owner, b""))
            return
        delivery = self._deliveries[number]
        if not self._lease.lasts(delivery.epoch):
            self._refuse(number, LEASE_IS_OVER)
            return
        try:
            self._workers.deliver(
                AgentOrder(
                    number,
                    delivery.name,
                    delivery.local,
                    delivery.host,
                    delivery.sender,
                    owner,
                    delivery.fd,
                    delivery.dsn,
                )
            )
        except OSError:
            self._refuse(number, NO_FORK)
            return
        delivery.fd = -1

    def _deliverable(self, user: UserLookupAnswer) -> UserLookupAnswer:
        """Return the user, or LOOKUP_ROOT for root: no delivery runs as root.

        In a single-user installation that belongs to root, root may get mail.
        """
        is_root = not isinstance(user, int) and user.uid == 0
        return LOOKUP_ROOT if is_root and not self._site.single_user else user

    def _refuse(self, number: int, result: DeliveryResult) -> None:
        """Report an order that goes to no worker."""
        self._deliveries[number].drop_message()
        self._report(number, result)

    def _report(self, number: int, result: DeliveryResult) -> None:
        question = self._questions.pop(number, None)
        if question is not None:
            question.report(result.outcome)
            return
        order = self._deliveries[number] if result.disposition == NOT_DURABLE else self._deliveries.pop(number)
        order.report(result)

    def _ask(self, question: LookupQuery, user: UserLookupAnswer) -> None:
        """Ask the worker of a user whether a recipient is deliverable."""
        owner = self._deliverable(user)
        if isinstance(owner, int):
            question.report(local_report(owner, b"").outcome)
            return
        number = self._next_number()
        self._questions[number] = question
        try:
            self._workers.ask(number, owner)
        except OSError:
            self._report(number, NO_FORK)

    def _mark_durable(self, numbers: list[int]) -> None:
        """Notify the schedulers that these reports have become durable."""
        serials: dict[SelectorChannel, list[int]] = {}
        for number in numbers:
            order = self._deliveries.pop(number)
            serials.setdefault(order.line, []).append(order.serial)
        for line, mine in serials.items():
            line.send(delivery_wire.durable(mine))
