"""Finds the user of a local part: in the user database, else among the system accounts.

The database answers at once; the accounts are read by a separate process.  The spawner must never wait for an account
service on the network, nor load the code of a name service as root.

Fails: never; a look-up that fails yields a LOOKUP_* code.
Source: qmail-lspawn.c; qmail-getpw(8).
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
from eqmail_core.system.repeated_lines import say_seldom
from eqmail_core.users.database import KeptDatabase
from eqmail_core.users.getpw import find_in_single_user_site
from eqmail_core.users.user import LOOKUP_SYSTEM, LookupFailed, User

# How long, and how many, answers of the look-up process are cached; a changed user database counts at once.
_CACHED_S = 1.0
_MAX_CACHED = 10_000

SILENCE_S = 30.0
"""Time limit for one answer of the look-up process, in seconds.

Network accounts take seconds; a hung home never ends.
"""

UserLookupAnswer = User | int
"""The user, or the LOOKUP_* code that explains why there is none."""


class UserLookup:
    """Finds the users that own local parts."""

    def __init__(self, site: Site, selector: selectors.BaseSelector) -> None:
        self._site = site
        self._selector = selector
        self._database = KeptDatabase(site)
        self._process: _LookupProcess | None = None
        self._leaving: list[int] = []
        self._asked: dict[bytes, list[Callable[[UserLookupAnswer], None]]] = {}
        self._cache: dict[bytes, tuple[float, UserLookupAnswer]] = {}

    def find(self, local: bytes, then: Callable[[UserLookupAnswer], None]) -> None:
        """Call `then` with the owner of `local`: at once if it is known, else when it is found."""
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
        """Query the look-up process; all callers with the same local part wait for one answer."""
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

    def expire(self) -> None:
        """Replace a look-up process that is silent for too long, and reap those that have ended."""
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
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            self._cache[local] = (time.monotonic() + _CACHED_S, found)
        self._deliver_answer(local, found)

    def _process_lost(self, process: "_LookupProcess", why: str) -> None:
        """Replace the look-up process: fail the question it was working on and repeat the others."""
        say_seldom("qmail-lspawn", f"warning: the look-up process {why} and is replaced")
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
    """The process that reads the system accounts; answers come in the order of the questions."""

    def __init__(self, site: Site) -> None:
        self.pid, self.sock = fork_with_socket("qmail-getpw", partial(getpw.run, site))
        self.asked: deque[bytes] = deque()
        self._busy_since = 0.0

    def silent_s(self, now: float) -> float:
        """Seconds for which an answer has been overdue."""
        return now - self._busy_since if self.asked else 0.0

    def ask(self, local: bytes) -> None:
        """Send a question.  Fails: OSError."""
        self.sock.send(local)
        if not self.asked:
            self._busy_since = time.monotonic()
        self.asked.append(local)

    def answer(self) -> tuple[bytes, UserLookupAnswer]:
        """Receive the next answer: the local part, and the user or a LOOKUP_* code.

        Fails: BlockingIOError when there is none; EOFError when the process has gone; ValueError or LookupFailed for a
        malformed answer.
        """
        packet = self.sock.recv(PACKET)
        if not packet or not self.asked:
            raise EOFError
        found = getpw.split_answer(packet)
        self._busy_since = time.monotonic()
        return self.asked.popleft(), found

    def end(self) -> None:
        """Kill the process without waiting for its end."""
        self.sock.close()
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
