"""Those who deliver for the spawner: a user's agent, which is that user for good, and the carrier for everybody.

An agent delivers for one account as long as there is mail.  Maildir orders are taken in groups, whatever waits at a
time; anything slower (programs, forwards, mailbox files) runs in a process of its own, so that it holds up nobody.  No
other process of the user may trace it.

The carrier files plain mail in everybody's Maildirs, being each user while it touches that user's files.  It runs no
program and delivers nothing else: such orders go back, for the agent of their user.

Neither has descriptors but its socket and those of the orders, and either ends with its socket.
Source: architecture section 6, "resident agents"; ADR 15.
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
from eqmail_core.outcome import EXIT_DONE
from eqmail_core.site.site import Site
from eqmail_core.system import kernel
from eqmail_core.system.memory_limit import bound_memory
from eqmail_core.system.privileges import PrivilegeError, TemporaryIdentity, become_user, keep_only_changing_users
from eqmail_core.users.user import LOOKUP_USAGE, User

# Imported only when needed elsewhere; here at once, for users may be unable to read our files.
_LATER = ("eqmail_core.control.controls", "eqmail_core.local.delivery.lmtp_command", "eqmail_core.local.delivery.lmtp")

_MORE_MEMORY = 256 << 20
"""What an agent or the carrier may need beside what it has of the spawner, in bytes."""

# After a group, orders that follow within this time make the next group together, up to so many.
_GATHER_S = 0.008
_GATHERED = 10

for module in _LATER:
    import_module(module)


def run(site: Site, user: User, default: bytes, environ: Mapping[bytes, bytes], sock: socket.socket) -> int:
    """Become the user and deliver until the spawner lets go; the exit code, which the spawner understands."""
    itself = nullcontext()

    def as_it_is(other: User) -> AbstractContextManager[object]:
        if (other.uid, other.gid) != (user.uid, user.gid):
            raise PrivilegeError(f"uid {user.uid} got an order for uid {other.uid}")
        return itself

    try:
        become_user(user.uid, user.gid)
    except PrivilegeError:
        return LOOKUP_USAGE
    serving = WorkerLoop(sock, "eq-agent", MaildirBatch(site, default, as_it_is))
    serving.subprocesses = DeliverySubprocesses(
        site, default, environ, serving.poll, serving.report, serving.memory_before
    )
    return serving.run()


def run_carrier(site: Site, default: bytes, sock: socket.socket) -> int:
    """Deliver plain Maildir mail for everybody until the spawner lets go; the exit code."""
    keep_only_changing_users()
    context = MaildirBatch(site, default, lambda user: TemporaryIdentity(user.uid, user.gid), is_shared=True)
    return WorkerLoop(sock, "eq-carrier", context).run()


class WorkerLoop:
    """The loop: orders and questions in, reports out.  Without `apart` what is more than a Maildir goes back."""

    def __init__(self, sock: socket.socket, name: str, context: MaildirBatch) -> None:
        kernel.forbid_tracing()
        kernel.name_process(name)
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
        """Deliver until the socket ends; what runs apart then goes on by itself, as it would under C."""
        try:
            self._serve()
        except BrokenPipeError:
            # The spawner has gone while we worked; its successor will be given the same orders.
            pass
        return EXIT_DONE

    def report(self, number: int, disposition: bytes, text: bytes) -> None:
        """A delivery apart has ended."""
        self._outgoing.append(wire.report_of(number, disposition, text))

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
        """Take the orders that wait, and deliver them as a group; False at the end of the socket."""
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
                self._tell(self._batch.check_deliverable(questions))
                break
            orders += wire.split_orders(packet, fds)
        if orders:
            self._deliver(orders)
        return True

    def _deliver(self, orders: list[AgentOrder]) -> None:
        result = self._batch.deliver(orders)
        self._gather_until = time.monotonic() + _GATHER_S
        self._tell(result)
        if self.subprocesses is not None:
            self.subprocesses.accept(result.needs_subprocess)
            return
        for request in result.needs_subprocess:
            if request.fd >= 0:
                os.close(request.fd)
            self._outgoing.append(wire.hand_back(request.number, request.number in result.slow))

    def _tell(self, result: BatchResult) -> None:
        """Have the spawner told what is certain, and which questions we do not answer."""
        self._outgoing += [wire.durable(number) for number in result.durable]
        self._outgoing += [wire.report(*report) for report in result.reports]
        self._outgoing += [wire.hand_back(number, number in result.slow) for number in result.unanswered]

    def _more_may_come(self, count: int) -> bool:
        """Wait a moment for more orders while mail streams in: a barrier costs more than the moment."""
        left_s = self._gather_until - time.monotonic()
        return left_s > 0 and count < _GATHERED and bool(self._requests_poll.poll(left_s * 1000))

    def _send_reports(self) -> None:
        """Send all that is to be said, in as few packets as it fits."""
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
