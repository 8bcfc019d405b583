"""The spawner's people: an agent for every user with mail, and helpers that sync the disk.

Root's half.  It believes its children nothing but reports on orders that it gave them.

Fails: OSError when there can be no child.
"""

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial

from eqmail_core.protocols import agent_wire as wire
from eqmail_core.protocols.agent_wire import AgentOrder
from eqmail_core.services.local import agent
from eqmail_core.system.children import end, fork_with_socket, has_ended
from eqmail_core.system.sockets import PACKET, send_descriptors
from eqmail_core.values.site import Site
from eqmail_core.values.user import User

RESIDENT = 32
IDLE_S = 30.0
RETIRED_AFTER = 10_000


class Agent:
    """One user's agent: orders not sent yet, orders without a report, reports that are not durable yet."""

    __slots__ = ("backlog", "orders", "pid", "questions", "sock", "unreported", "unsettled", "used_at")

    def __init__(self, pid: int, sock: socket.socket) -> None:
        self.pid = pid
        self.sock = sock
        self.backlog: deque[AgentOrder] = deque()
        self.questions: list[tuple[int, bytes]] = []
        self.unreported: set[int] = set()
        self.unsettled: set[int] = set()
        self.orders = 0
        self.used_at = time.monotonic()

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing is expected of it."""
        return not self.unreported and not self.unsettled

    def take(self, it: AgentOrder) -> None:
        """Accept an order; `push` sends it."""
        self.backlog.append(it)
        self.unreported.add(it.number)
        self.orders += 1
        self.used_at = time.monotonic()

    def be_asked(self, number: int, ext: bytes) -> None:
        """Accept a question; `push` sends it."""
        self.questions.append((number, ext))
        self.unreported.add(number)
        self.used_at = time.monotonic()

    def push(self) -> bool:
        """Send what was taken, in large packets; False if the agent cannot take all of it now.  Fails: OSError."""
        if self.questions:
            try:
                self.sock.send(wire.questions(self.questions))
            except BlockingIOError:
                return False
            self.questions.clear()
        backlog = self.backlog
        while backlog:
            packet, fds, size = [], [], 0
            for it in backlog:
                packet.append(wire.order(it))
                fds.append(it.fd)
                size += len(packet[-1])
                if len(fds) == wire.MAX_ORDERS or size >= wire.MAX_BYTES:
                    break
            try:
                send_descriptors(self.sock, b"".join(packet), fds)
            except BlockingIOError:
                return False
            for fd in fds:
                os.close(fd)
                backlog.popleft()
        return True

    def reports(self) -> list[tuple[int, bytes]]:
        """The reports in one packet; what is not about its own orders is an offence.

        Fails: BlockingIOError when there is none, EOFError and OSError when the agent has gone, ValueError for an
        offence.
        """
        packet = self.sock.recv(PACKET)
        if not packet:
            raise EOFError
        reports = wire.split_reports(packet)
        for number, said in reports:
            if said == wire.DURABLE:
                self._strike(self.unsettled, number)
            else:
                self._strike(self.unreported, number)
                if said[:2] == b"0K":
                    self.unsettled.add(number)
        return reports

    def _strike(self, numbers: set[int], number: int) -> None:
        if number not in numbers:
            raise ValueError(f"agent {self.pid} speaks of order {number}, which is not its")
        numbers.discard(number)

    def let_go(self) -> None:
        """Close the socket, which ends the process."""
        for it in self.backlog:
            os.close(it.fd)
        self.backlog.clear()
        self.sock.close()


class Crew:
    """All agents.  The spawner is told of a new one by `watch(agent)`, and by `unwatch(agent)` before one goes."""

    def __init__(
        self,
        site: Site,
        default: bytes,
        environ: Mapping[bytes, bytes],
        watch: Callable[[Agent], None],
        unwatch: Callable[[Agent], None],
    ) -> None:
        self._site = site
        self._default = default
        self._environ = environ
        self._watch = watch
        self._unwatch = unwatch
        self._agents: dict[tuple[bytes, int, int, bytes, bytes], Agent] = {}
        self._retired: set[Agent] = set()
        self._leaving: list[int] = []

    def agent_for(self, user: User) -> Agent:
        """The agent of a user, started if there is none.  The least recently used comes first in the table."""
        key = (user.name, user.uid, user.gid, user.home, user.dash)
        found = self._agents.pop(key, None)
        if found is not None and found.orders >= RETIRED_AFTER:
            self._retired.add(found)
            found = None
        if found is None:
            self._make_room()
            act = partial(agent.run, self._site, user, self._default, self._environ)
            found = Agent(*fork_with_socket("eq-agent", act))
            self._watch(found)
        self._agents[key] = found
        return found

    def dismiss_idle(self) -> None:
        """Let go of the agents that have been idle for long or are retired, and bury those that have left."""
        long_ago = time.monotonic() - IDLE_S
        for key, it in list(self._agents.items()):
            if it.is_idle and it.used_at <= long_ago:
                del self._agents[key]
                self._dismiss(it)
        for it in [it for it in self._retired if it.is_idle]:
            self._retired.discard(it)
            self._dismiss(it)
        self._leaving = [pid for pid in self._leaving if not has_ended(pid)]

    def bury(self, dead: Agent) -> int:
        """Forget an agent that has died or must; its exit code, negative for a signal."""
        self._retired.discard(dead)
        self._agents = {key: it for key, it in self._agents.items() if it is not dead}
        self._unwatch(dead)
        dead.let_go()
        return end(dead.pid)

    @property
    def is_idle(self) -> bool:
        """Tell whether no agent has anything to do."""
        return all(it.is_idle for it in self._agents.values()) and all(it.is_idle for it in self._retired)

    def _make_room(self) -> None:
        """Dismiss the least recently used of the idle, if the house is full; the busy stay, however many."""
        if len(self._agents) >= RESIDENT:
            for key, it in self._agents.items():
                if it.is_idle:
                    del self._agents[key]
                    self._dismiss(it)
                    return

    def _dismiss(self, it: Agent) -> None:
        self._unwatch(it)
        it.let_go()
        self._leaving.append(it.pid)


def sync_in_child() -> tuple[int, socket.socket]:
    """Start a process that puts everything on the disk; its socket ends when that is done."""
    return fork_with_socket("eq-sync", _sync)


def _sync(_sock: socket.socket) -> int:
    os.sync()
    return 0
