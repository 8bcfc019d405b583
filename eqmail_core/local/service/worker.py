"""The spawner's side of one worker process: orders and questions go out, reports come in.

It accepts only reports about orders and questions that it gave to this process.
"""

import os
import socket
import time
from collections import deque

from eqmail_core.ipc.packet_socket import PACKET, send_descriptors
from eqmail_core.local.service import protocol as wire
from eqmail_core.local.service.protocol import AgentOrder
from eqmail_core.outcome import DONE, NOT_DURABLE, DeliveryResult
from eqmail_core.users.user import User

_HANDED_BACK = (wire.PERSONAL, wire.SLOW)

NO_BOUND = 1 << 30

WAIT_S = 5.0
"""How long an order waits for a free slot of its account, in seconds; then it is refused."""

CROWDED_S = 60.0
"""How long orders of that account do not wait afterwards, in seconds."""


class WorkerHandle:
    """An agent or the carrier: its orders, and its reports that are not durable yet.

    One that `is_shared` by all users may return an order, so its message stays open until the report.  A worker has at
    most `at_once` orders at a time, so an account holds no more delivery slots than that, except for a moment.
    """

    __slots__ = (
        "_at_once",
        "_backlog",
        "_busy_since",
        "_crowded_until",
        "_is_probed",
        "_to_ask",
        "asked",
        "is_shared",
        "not_durable",
        "pid",
        "requests",
        "sock",
        "taken",
        "used_at",
    )

    def __init__(self, pid: int, sock: socket.socket, is_shared: bool = False, at_once: int = NO_BOUND) -> None:
        self.pid = pid
        self.sock = sock
        self.taken: dict[int, AgentOrder] = {}
        self.asked: dict[int, User] = {}
        self.not_durable: set[int] = set()
        self.requests = 0
        self.used_at = self._busy_since = time.monotonic()
        self.is_shared = is_shared
        self._at_once = at_once
        self._backlog: deque[tuple[float, AgentOrder]] = deque()
        self._crowded_until = 0.0
        self._is_probed = False
        self._to_ask: list[tuple[int, User]] = []

    @property
    def is_idle(self) -> bool:
        """Tell whether no report is outstanding."""
        return not self.taken and not self.asked and not self.not_durable

    def users(self) -> list[User]:
        """The users of its orders and questions."""
        return [request.user for request in self.taken.values()] + list(self.asked.values())

    def silent_s(self, now: float) -> float:
        """Seconds for which a report has been overdue."""
        return now - self._busy_since if self.taken or self.asked else 0.0

    def is_full(self, now: float) -> bool:
        """Tell whether it has all the orders it may have, and waiting would not help."""
        return now < self._crowded_until and self._room() <= 0

    def take_overdue(self, now: float) -> list[AgentOrder]:
        """Remove and return the orders that have waited too long behind others of the account."""
        found = []
        while self._backlog and self._backlog[0][0] < now - WAIT_S and not self.is_shared:
            request = self._backlog.popleft()[1]
            del self.taken[request.number]
            found.append(request)
        if found:
            self._crowded_until = now + CROWDED_S
        return found

    def probe(self) -> None:
        """Send a probe if a report is outstanding and no probe is; a report also counts as answer."""
        if (self.taken or self.asked) and not self._is_probed:
            self._is_probed = True
            try:
                self.sock.send(wire.PROBE)
            except OSError:
                pass  # it does not even read; it will be killed for its silence

    def accept(self, request: AgentOrder) -> None:
        """Accept an order, with its descriptor; `push` sends it."""
        self._use()
        self._backlog.append((self.used_at, request))
        self.taken[request.number] = request
        self.requests += 1

    def ask(self, number: int, user: User) -> None:
        """Accept a question; `push` sends it."""
        self._use()
        self._to_ask.append((number, user))
        self.asked[number] = user

    def push(self) -> bool:
        """Send accepted orders and questions; False if the process cannot receive more now.

        Fails: OSError.
        """
        try:
            while self._to_ask:
                count = wire.how_many_fit(self._to_ask)
                self.sock.send(wire.questions(self._to_ask[:count]))
                del self._to_ask[:count]
            while self._backlog and self._room() > 0:
                self._send_some()
        except BlockingIOError:
            return False
        return True

    def reports(self) -> list[tuple[int, DeliveryResult | bytes]]:
        """Read the results and notices in one packet; each must be about an order or question of this process.

        Fails: BlockingIOError when there is none; EOFError and OSError when the process has gone; ValueError for a
        malformed report, or one about an order of another worker.
        """
        packet = self.sock.recv(PACKET)
        if not packet:
            raise EOFError
        reports = [report for report in wire.split_reports(packet) if report != (0, wire.ALIVE)]
        self._is_probed = False
        for number, result in reports:
            if not self._is_its(number, result):
                raise ValueError(f"process {self.pid} speaks of order {number}, which is not its")
            if not isinstance(result, DeliveryResult):
                if result == wire.BECAME_DURABLE:
                    self.not_durable.discard(number)
            elif number in self.asked:
                del self.asked[number]
            else:
                _close_message(self.hand_back(number))
                if result.disposition == NOT_DURABLE and result.outcome == DONE:
                    self.not_durable.add(number)
        self._busy_since = time.monotonic()
        return reports

    def hand_back(self, number: int) -> AgentOrder:
        """Remove and return an order."""
        return self.taken.pop(number)

    def close(self) -> None:
        """Close the socket, which ends the process."""
        if not self.is_shared:
            for _, request in self._backlog:
                _close_message(request)
        self._backlog.clear()
        self.sock.close()

    def _is_its(self, number: int, result: DeliveryResult | bytes) -> bool:
        """Tell whether this result or notice is allowed for this order."""
        if isinstance(result, DeliveryResult):
            is_allowed = wire.is_valid(result)
        elif result == wire.BECAME_DURABLE:
            return number in self.not_durable
        else:
            is_allowed = result in _HANDED_BACK and self.is_shared
        return is_allowed and (number in self.taken or number in self.asked)

    def _use(self) -> None:
        self.used_at = time.monotonic()
        if not self.taken and not self.asked:
            self._busy_since = self.used_at

    def _room(self) -> int:
        """How many more orders may be sent."""
        return self._at_once - len(self.taken) + len(self._backlog)

    def _send_some(self) -> None:
        packet, fds, size = [], [], 0
        limit = min(self._room(), wire.MAX_ORDERS)
        for _, request in self._backlog:
            packet.append(wire.order(request))
            fds.append(request.fd)
            size += len(packet[-1])
            if len(fds) == limit or size >= wire.MAX_BYTES:
                break
        send_descriptors(self.sock, b"".join(packet), fds)
        for _ in fds:
            sent = self._backlog.popleft()[1]
            if not self.is_shared:
                _close_message(sent)


def _close_message(request: AgentOrder) -> None:
    """Close the message of an order."""
    if request.fd >= 0:
        os.close(request.fd)
        request.fd = -1
