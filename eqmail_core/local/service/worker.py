"""The spawner's half of a process that delivers for it: orders and questions going out, reports coming back.

It believes the process nothing but reports on what it gave it.
"""

import os
import socket
import time
from collections import deque

from eqmail_core.ipc.packet_socket import PACKET, send_descriptors
from eqmail_core.local.service import protocol as wire
from eqmail_core.local.service.protocol import AgentOrder
from eqmail_core.outcome import DONE, EXIT_OF, EXPANDED, FLEETING, LASTING, TAKEN_OVER
from eqmail_core.users.user import User

_HANDED_BACK = (wire.PERSONAL, wire.SLOW)
# Fate and letter of a report: what is not durable yet is a success.
_BEGINNINGS = {FLEETING + DONE} | {fate + letter for fate in (LASTING, TAKEN_OVER, EXPANDED) for letter in EXIT_OF}


NO_BOUND = 1 << 30

WAIT_S = 5.0
"""How long an order waits for the account that it is for to be done with others; then its place is given up."""

CROWDED_S = 60.0
"""For how long an account's orders do not wait then."""


class WorkerHandle:
    """An agent or the carrier: orders not sent yet, orders without a report, reports that are not durable yet.

    One that `is_shared` by all users may give an order back, so its message is held on to until the report.  It has at
    most `at_once` orders at a time; so an account cannot hold more places than these, but for a moment.
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
        """Tell whether nothing is expected of it."""
        return not self.taken and not self.asked and not self.not_durable

    def users(self) -> list[User]:
        """Whose orders and questions it has."""
        return [it.user for it in self.taken.values()] + list(self.asked.values())

    def silent_s(self, now: float) -> float:
        """For how long it has owed a report and has given none."""
        return now - self._busy_since if self.taken or self.asked else 0.0

    def has_no_place(self, now: float) -> bool:
        """Tell whether it has all the orders that it may have, and others would wait in vain."""
        return now < self._crowded_until and self._room() <= 0

    def crowded_out(self, now: float) -> list[AgentOrder]:
        """The orders that have waited for too long behind others of the account; they are not its any more."""
        found = []
        while self._backlog and self._backlog[0][0] < now - WAIT_S and not self.is_shared:
            request = self._backlog.popleft()[1]
            del self.taken[request.number]
            found.append(request)
        if found:
            self._crowded_until = now + CROWDED_S
        return found

    def probe(self) -> None:
        """Ask whether it is there, if it owes anything and has not been asked yet; a report is an answer too."""
        if (self.taken or self.asked) and not self._is_probed:
            self._is_probed = True
            try:
                self.sock.send(wire.PROBE)
            except OSError:
                pass  # it does not even read; its silence tells

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
        """Send what was taken and may be sent, in large packets; False if the process cannot take that now.

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

    def reports(self) -> list[tuple[int, bytes]]:
        """The reports in one packet; what is none, or not about its own orders, is an offence.

        Fails: BlockingIOError when there is none, EOFError and OSError when the process has gone, ValueError for an
        offence.
        """
        packet = self.sock.recv(PACKET)
        if not packet:
            raise EOFError
        reports = [report for report in wire.split_reports(packet) if report != (0, wire.ALIVE)]
        self._is_probed = False
        for number, said in reports:
            if not self._is_its(number, said):
                raise ValueError(f"process {self.pid} speaks of order {number}, which is not its")
            if said == wire.DURABLE:
                self.not_durable.discard(number)
            elif said in _HANDED_BACK:
                pass
            elif number in self.asked:
                del self.asked[number]
            else:
                _close_message(self.hand_back(number))
                if said[:2] == b"0K":
                    self.not_durable.add(number)
        self._busy_since = time.monotonic()
        return reports

    def hand_back(self, number: int) -> AgentOrder:
        """An order that is not its any more."""
        return self.taken.pop(number)

    def close(self) -> None:
        """Close the socket, which ends the process."""
        if not self.is_shared:
            for _, request in self._backlog:
                _close_message(request)
        self._backlog.clear()
        self.sock.close()

    def _is_its(self, number: int, said: bytes) -> bool:
        """Tell whether this may be said about this order."""
        if said == wire.DURABLE:
            return number in self.not_durable
        if said in _HANDED_BACK and not self.is_shared:
            return False
        is_report = said in _HANDED_BACK or said[:2] in _BEGINNINGS
        return is_report and (number in self.taken or number in self.asked)

    def _use(self) -> None:
        self.used_at = time.monotonic()
        if not self.taken and not self.asked:
            self._busy_since = self.used_at

    def _room(self) -> int:
        """How many orders more it may be sent."""
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
