"""The agent: one process that delivers for one user for as long as there is mail, and is that user.

Maildir orders are taken in groups, whatever waits at a time; anything slower (programs, forwards, mailbox files) runs
in a process of its own, so that it holds up nobody.  The agent has no descriptors but its socket and those of the
orders, no other process of the user may trace it, and it ends with its socket.

Source: architecture section 6, "resident agents".
"""

import os
import select
import socket
import time
from collections import deque
from collections.abc import Mapping
from importlib import import_module

from eqmail_core.protocols import agent_wire as wire
from eqmail_core.protocols.agent_wire import AgentOrder
from eqmail_core.services.local.delivery import deliver
from eqmail_core.services.local.group import MaildirDesk, delivery_of
from eqmail_core.store.home import foresee
from eqmail_core.system import kernel
from eqmail_core.system.files import write_all
from eqmail_core.system.message_file import MessageFile
from eqmail_core.system.privileges import CannotSettle, become
from eqmail_core.system.sockets import receive_descriptors
from eqmail_core.system.spawning import bounded
from eqmail_core.values.local_report import KEPT_OUTPUT, local_report
from eqmail_core.values.outcome import DONE, EXIT_DONE, EXIT_TEMPORARY, Failure
from eqmail_core.values.site import Site
from eqmail_core.values.user import LOOKUP_USAGE, User

# Imported only when needed elsewhere; here at once, for users may be unable to read our files.
_LATER = ("eqmail_core.control.source", "eqmail_core.policy.lmtp_line", "eqmail_core.services.local.lmtp")

AT_ONCE = 64
"""Deliveries apart that one agent runs at a time; more wait."""

_PIECE = 65536

# After a group, orders that follow within this time make the next group together, up to so many.
_GATHER_S = 0.008
_GATHERED = 10

for module in _LATER:
    import_module(module)


class _Apart:
    """A delivery in a process of its own, and what it has said so far."""

    __slots__ = ("number", "output", "pid")

    def __init__(self, number: int, pid: int) -> None:
        self.number = number
        self.pid = pid
        self.output = b""


def run(site: Site, user: User, default: bytes, environ: Mapping[bytes, bytes], sock: socket.socket) -> int:
    """Become the user and deliver until the spawner lets go; the exit code, which the spawner understands."""
    try:
        become(user.uid, user.gid)
    except CannotSettle:
        return LOOKUP_USAGE
    kernel.forbid_tracing()
    kernel.name_process("eq-agent")
    os.umask(0o077)
    try:
        _Agent(site, user, default, environ, sock).serve()
    except BrokenPipeError:
        # The spawner has gone while we worked; its successor will be given the same orders.
        pass
    return EXIT_DONE


class _Agent:
    def __init__(
        self, site: Site, user: User, default: bytes, environ: Mapping[bytes, bytes], sock: socket.socket
    ) -> None:
        self._site = site
        self._user = user
        self._default = default
        self._environ = environ
        self._sock = sock
        self._socket_fd = sock.fileno()
        self._desk = MaildirDesk(site, user, default)
        self._running: dict[int, _Apart] = {}
        self._waiting: deque[AgentOrder] = deque()
        self._outgoing: list[bytes] = []
        self._gather_until = 0.0
        self._orders_poll = select.poll()
        self._orders_poll.register(sock, select.POLLIN)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def serve(self) -> None:
        """Deliver until the socket ends; what runs apart then goes on by itself, as it would under C."""
        while True:
            wait_s = self._desk.settle_in_s
            ready = self._poll.poll(None if wait_s is None else wait_s * 1000)
            if self._desk.settle_in_s == 0.0:
                self._outgoing += [wire.settled(number) for number in self._desk.settle()]
            for fd, _ in ready:
                if fd != self._socket_fd:
                    self._collect(fd)
                elif not self._take_orders():
                    return
            self._send_reports()

    def _take_orders(self) -> bool:
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
            questions = wire.split_questions(packet)
            if questions:
                self._outgoing += [wire.report(number, True, self._foresee(ext)) for number, ext in questions]
                break
            orders += wire.split_orders(packet, fds)
        if not orders:
            return True
        result = self._desk.deliver(orders)
        self._gather_until = time.monotonic() + _GATHER_S
        self._outgoing += [wire.settled(number) for number in result.settled]
        self._outgoing += [wire.report(*report) for report in result.reports]
        self._waiting += result.apart
        self._start_waiting()
        return True

    def _foresee(self, ext: bytes) -> bytes:
        """What a delivery to an extension would begin its report with."""
        try:
            foresee(self._user.home, self._user.dash, ext, self._default, self._site.patrn)
        except Failure as failure:
            return failure.outcome + failure.text
        return DONE

    def _more_may_come(self, count: int) -> bool:
        """Wait a moment for more orders while mail streams in: a barrier costs more than the moment."""
        left_s = self._gather_until - time.monotonic()
        return left_s > 0 and count < _GATHERED and bool(self._orders_poll.poll(left_s * 1000))

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

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < AT_ONCE:
            self._start(self._waiting.popleft())

    def _start(self, it: AgentOrder) -> None:
        """Deliver one order in a process of its own."""
        reading = writing = -1
        try:
            reading, writing = os.pipe()
            pid = os.fork()
        except OSError:
            for fd in (it.fd, reading, writing):
                if fd >= 0:
                    os.close(fd)
            self._outgoing.append(wire.report(it.number, True, b"Zqmail-spawn unable to fork. (#4.3.0)\n"))
            return
        if pid == 0:
            self._be_apart(it, writing)
        os.close(writing)
        os.close(it.fd)
        self._running[reading] = _Apart(it.number, pid)
        self._poll.register(reading, select.POLLIN)

    def _be_apart(self, it: AgentOrder, output: int) -> None:
        """The child: what a qmail-local would be, with its descriptors and its exit code; never returns."""
        code = EXIT_TEMPORARY
        try:
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.dup2(MessageFile(it.fd).reopened(), 0)
            os.closerange(3, 1 << 30)
            write_all(1, deliver(self._site, delivery_of(self._user, self._default, it), 0, self._environ))
            code = EXIT_DONE
        except Failure as failure:
            if failure.text:
                write_all(2, failure.text + b"\n")
            code = failure.exit_code
        except Exception as surprise:
            write_all(2, f"Unable to deliver: {type(surprise).__name__}: {surprise}. (#4.3.0)\n".encode())
        finally:
            os._exit(code)

    def _collect(self, fd: int) -> None:
        """Take output of a delivery apart, and report it at its end."""
        it = self._running[fd]
        data = os.read(fd, _PIECE)
        if data:
            it.output = (it.output + data)[: KEPT_OUTPUT + 1]
            return
        self._poll.unregister(fd)
        os.close(fd)
        del self._running[fd]
        code = os.waitstatus_to_exitcode(os.waitpid(it.pid, 0)[1])
        text = local_report(code, bounded(it.output, KEPT_OUTPUT))
        self._outgoing.append(wire.report(it.number, True, text))
        self._start_waiting()
