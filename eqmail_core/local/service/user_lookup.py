"""Whose an address is: the user database at once, the accounts of the machine through a process that may take its time.

The spawner must never wait for an account service on the network, nor hold a name service's code as root.

Fails: never; what cannot be told is a LOOKUP_* code.
Source: architecture section 6, "lookup"; qmail-lspawn.c, qmail-getpw(8).
"""

import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from eqmail_core.ipc.packet_socket import PACKET
from eqmail_core.local.service import getpw_process as getpw
from eqmail_core.site.site import Site
from eqmail_core.system.child import fork_with_socket, has_ended
from eqmail_core.system.log import log_line
from eqmail_core.users.database import KeptDatabase
from eqmail_core.users.getpw import find_in_single_user_site
from eqmail_core.users.user import LOOKUP_SYSTEM, LookupFailed, User

# How long an answer of the look-up process is believed; a changed user database counts at once.
_BELIEVED_S = 1.0
_BELIEVED = 10_000

SILENCE_S = 30.0
"""How long the look-up process may owe an answer; accounts on a network take seconds, a hung home takes for ever."""

UserLookupAnswer = User | int
"""The user, or the LOOKUP_* code that says why there is none."""


class UserLookup:
    """Finds the owners of local parts."""

    def __init__(self, site: Site, selector: selectors.BaseSelector) -> None:
        self._site = site
        self._selector = selector
        self._database = KeptDatabase(site)
        self._process: _LookupProcess | None = None
        self._leaving: list[int] = []
        self._asked: dict[bytes, list[Callable[[UserLookupAnswer], None]]] = {}
        self._cache: dict[bytes, tuple[float, UserLookupAnswer]] = {}

    def find(self, local: bytes, then: Callable[[UserLookupAnswer], None]) -> None:
        """Call `then` with the owner of `local`, at once if that is known, else when it is."""
        try:
            user = self._database.find(local)
            if user is None and self._site.single_user:
                user = find_in_single_user_site(self._site, local)
        except LookupFailed as failure:
            then(failure.code)
            return
        if user is not None:
            then(user)
            return
        believed = self._cache.get(local)
        if believed is not None and believed[0] > time.monotonic():
            then(believed[1])
        else:
            self._ask(local, then)

    def _ask(self, local: bytes, then: Callable[[UserLookupAnswer], None]) -> None:
        """Have the look-up process find the account; all who want the same local part wait for one answer."""
        waiting = self._asked.get(local)
        if waiting is not None:
            waiting.append(then)
            return
        self._asked[local] = [then]
        self._send(local)

    def _send(self, local: bytes) -> None:
        try:
            if self._process is None:
                self._process = _LookupProcess(self._site)
                self._selector.register(self._process.sock, selectors.EVENT_READ, self._answered)
            self._process.ask(local)
        except OSError:
            self._deliver_answer(local, LOOKUP_SYSTEM)

    def tidy(self) -> None:
        """Do without a look-up process that is silent for too long, and without those that have ended."""
        self._leaving = [pid for pid in self._leaving if not has_ended(pid)]
        if self._process is not None and self._process.silent_s(time.monotonic()) > SILENCE_S:
            self._process_lost(self._process, f"was silent for {SILENCE_S:g} s")

    def _answered(self, _events: int) -> None:
        process = self._process
        if process is None:
            return
        try:
            local, found = process.answer()
        except BlockingIOError:
            return
        except (EOFError, OSError, ValueError, LookupFailed):
            self._process_lost(process, "has died")
            return
        if isinstance(found, User):
            if len(self._cache) >= _BELIEVED:
                self._cache.clear()
            self._cache[local] = (time.monotonic() + _BELIEVED_S, found)
        self._deliver_answer(local, found)

    def _process_lost(self, process: "_LookupProcess", why: str) -> None:
        """The process is of no use any more: what it was at is not asked again for now, the rest is asked anew."""
        log_line("qmail-lspawn", f"warning: the look-up process {why} and is replaced")
        self._selector.unregister(process.sock)
        process.end()
        self._leaving.append(process.pid)
        self._process = None
        first, *others = process.asked or [b""]
        if first in self._asked:
            self._deliver_answer(first, LOOKUP_SYSTEM)
        for local in others:
            self._send(local)

    def _deliver_answer(self, local: bytes, found: UserLookupAnswer) -> None:
        for then in self._asked.pop(local):
            then(found)


class _LookupProcess:
    """The process that knows the accounts of the machine, asked one local part after the other, answering in order."""

    def __init__(self, site: Site) -> None:
        self.pid, self.sock = fork_with_socket("eq-getpw", partial(getpw.run, site))
        self.asked: deque[bytes] = deque()
        self._busy_since = 0.0

    def silent_s(self, now: float) -> float:
        """For how long it has owed an answer and has given none."""
        return now - self._busy_since if self.asked else 0.0

    def ask(self, local: bytes) -> None:
        """Send a question.  Fails: OSError."""
        self.sock.send(local)
        if not self.asked:
            self._busy_since = time.monotonic()
        self.asked.append(local)

    def answer(self) -> tuple[bytes, UserLookupAnswer]:
        """The next answer: the local part, and the user or a LOOKUP_* code.

        Fails: BlockingIOError when there is none, EOFError when the process has gone, ValueError or LookupFailed for
        nonsense.
        """
        packet = self.sock.recv(PACKET)
        if not packet or not self.asked:
            raise EOFError
        found = getpw.split_answer(packet)
        self._busy_since = time.monotonic()
        return self.asked.popleft(), found

    def end(self) -> None:
        """Have it end, without waiting for that."""
        self.sock.close()
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
