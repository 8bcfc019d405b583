"""The worker processes of the spawner: agents, one per user, and the carrier for all users.

An agent delivers for one account as long as there is mail.  Maildir orders are taken in batches of whatever waits.
Slower ones (programs, forwards, mailbox files) run in subprocesses and delay no other.  No other process of the user
may trace the agent.

The carrier delivers plain mail to the Maildirs of all users, and acts as each user while it touches that user's files.
It runs no program and delivers nothing else: it returns such orders, for the agent of their user.

Both have no descriptors but their socket and those of the orders, and both end when the socket closes.
Source: ADR 7; ADR 15.
"""

import os
import select
import socket
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module

from eqmail_core.ipc.packet_socket import receive_descriptors
from eqmail_core.local.service import protocol as wire
from eqmail_core.local.service.maildir_batch import MaildirBatch
from eqmail_core.local.service.protocol import AgentOrder
from eqmail_core.local.service.subprocesses import DeliverySubprocesses
from eqmail_core.local.service.user_batch import BatchResult
from eqmail_core.outcome import EXIT_DONE, DeliveryResult
from eqmail_core.site.site import Site
from eqmail_core.system import kernel
from eqmail_core.system.memory_limit import bound_memory
from eqmail_core.system.privileges import PrivilegeError, TemporaryIdentity, become_user, keep_only_changing_users
from eqmail_core.system.process_title import set_process_title
from eqmail_core.users.user import LOOKUP_USAGE, User

# Elsewhere imported only when needed; here at once, because users may be unable to read these files.
_LATER = ("eqmail_core.control.controls", "eqmail_core.local.delivery.lmtp_command", "eqmail_core.local.delivery.lmtp")

_MORE_MEMORY = 256 << 20
"""Memory that an agent or the carrier may need beyond what it has from the spawner, in bytes."""

# After a batch, orders that arrive within this time form the next batch together, up to so many.
_GATHER_S = 0.008
_GATHERED = 10

for module in _LATER:
    import_module(module)


def run(site: Site, user: User, default: bytes, environ: Mapping[bytes, bytes], sock: socket.socket) -> int:
    """Become the user and deliver until the socket closes; return an exit code."""
    itself = nullcontext()

    def as_it_is(other: User) -> AbstractContextManager[object]:
        if (other.uid, other.gid) != (user.uid, user.gid):
            raise PrivilegeError(f"uid {user.uid} got an order for uid {other.uid}")
        return itself

    try:
        become_user(user.uid, user.gid)
    except PrivilegeError:
        return LOOKUP_USAGE
    serving = WorkerLoop(sock, "qmail-local", os.fsdecode(user.name), MaildirBatch(site, default, as_it_is))
    serving.subprocesses = DeliverySubprocesses(
        site, default, environ, serving.poll, serving.report, serving.memory_before
    )
    return serving.run()


def run_carrier(site: Site, default: bytes, sock: socket.socket) -> int:
    """Deliver plain Maildir mail for all users until the socket closes; return the exit code."""
    keep_only_changing_users()
    context = MaildirBatch(site, default, lambda user: TemporaryIdentity(user.uid, user.gid), is_shared=True)
    return WorkerLoop(sock, "qmail-carrier", f"Maildirs of {site.home}", context).run()


class WorkerLoop:
    """The loop: orders and questions in, reports out.

    Without `subprocesses`, orders that need more than a Maildir are returned.
    """

    def __init__(self, sock: socket.socket, name: str, purpose: str, context: MaildirBatch) -> None:
        kernel.forbid_tracing()
        set_process_title(name, purpose)
        os.umask(0o077)
        self.memory_before = bound_memory(_MORE_MEMORY)
        self._sock = sock
        self._socket_fd = sock.fileno()
        self._batch = context
        self.subprocesses: DeliverySubprocesses | None = None
        self._outgoing: list[bytes] = []
        self._gather_until = 0.0
        self._requests_poll = select.poll()
        self._requests_poll.register(sock, select.POLLIN)
        self.poll = select.poll()
        self.poll.register(sock, select.POLLIN)

    def run(self) -> int:
        """Deliver until the socket closes; subprocesses then go on by themselves, as in C."""
        try:
            self._serve()
        except BrokenPipeError:
            # The spawner ended during the work; its successor gets the same orders.
            pass
        return EXIT_DONE

    def report(self, number: int, result: DeliveryResult) -> None:
        """Queue the report of a subprocess that has ended."""
        self._outgoing.append(wire.report(number, result))

    def _serve(self) -> None:
        while True:
            waits = [wait_s for wait_s in (self._batch.flush_in_s, self._look_in_s) if wait_s is not None]
            ready = self.poll.poll(min(waits) * 1000 if waits else None)
            if self._batch.flush_in_s == 0.0:
                self._outgoing += [wire.durable(number) for number in self._batch.flush()]
            for fd, _ in ready:
                if fd == self._socket_fd:
                    if not self._receive_requests():
                        return
                elif self.subprocesses is not None:
                    self.subprocesses.collect(fd)
            if self.subprocesses is not None:
                self.subprocesses.look()
            self._send_reports()

    @property
    def _look_in_s(self) -> float | None:
        return None if self.subprocesses is None else self.subprocesses.look_in_s

    def _receive_requests(self) -> bool:
        """Receive the waiting orders and deliver them as a batch; False at the end of the socket."""
        orders: list[AgentOrder] = []
        flags = 0
        while len(orders) < wire.MAX_ORDERS:
            try:
                packet, fds = receive_descriptors(self._sock, wire.MAX_ORDERS, flags)
            except BlockingIOError:
                if not self._more_may_come(len(orders)):
                    break
                continue
            except ConnectionError:
                return False
            if not packet:
                return False
            flags = socket.MSG_DONTWAIT
            if packet == wire.PROBE:
                self._outgoing.append(wire.PRESENT)
                continue
            questions = wire.split_questions(packet)
            if questions:
                self._queue_results(self._batch.check_deliverable(questions))
                break
            orders += wire.split_orders(packet, fds)
        if orders:
            self._deliver(orders)
        return True

    def _deliver(self, orders: list[AgentOrder]) -> None:
        result = self._batch.deliver(orders)
        self._gather_until = time.monotonic() + _GATHER_S
        self._queue_results(result)
        if self.subprocesses is not None:
            self.subprocesses.accept(result.needs_subprocess)
            return
        for request in result.needs_subprocess:
            if request.fd >= 0:
                os.close(request.fd)
            self._outgoing.append(wire.hand_back(request.number, request.number in result.slow))

    def _queue_results(self, result: BatchResult) -> None:
        """Queue the durable ids, the reports, and the questions that remain unanswered."""
        self._outgoing += [wire.durable(number) for number in result.durable]
        self._outgoing += [wire.report(*report) for report in result.reports]
        self._outgoing += [wire.hand_back(number, number in result.slow) for number in result.unanswered]

    def _more_may_come(self, count: int) -> bool:
        """Wait briefly for more orders while mail streams in: a sync costs more than the wait."""
        left_s = self._gather_until - time.monotonic()
        return left_s > 0 and count < _GATHERED and bool(self._requests_poll.poll(left_s * 1000))

    def _send_reports(self) -> None:
        """Send everything queued, in as few packets as possible."""
        packet: list[bytes] = []
        size = 0
        for piece in self._outgoing:
            packet.append(piece)
            size += len(piece)
            if size >= wire.MAX_BYTES:
                self._sock.send(b"".join(packet))
                packet, size = [], 0
        if packet:
            self._sock.send(b"".join(packet))
        self._outgoing = []
