"""State shared by the SMTP sessions of a service: settings, queue client, clock, log.

Source: smtp-server.md 4.1.
"""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from eqmail_core.access.client_network import client_network
from eqmail_core.dns.query import CLIENT_TIMEOUT_S, DnsAnswer, DnsQuestion
from eqmail_core.dns.resolver import AsyncResolver
from eqmail_core.dns.search import run_search
from eqmail_core.event_loop.child_slots import ChildSlots
from eqmail_core.mail.dates import date822
from eqmail_core.smtpd.policy.log_budget import LineBudget
from eqmail_core.smtpd.policy.outcome import left_out
from eqmail_core.smtpd.policy.requests import SEARCH_S, CheckGreylist
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.server.async_recipient_lookup import NoRecipientLookup, RecipientLookup
from eqmail_core.smtpd.server.config import ServerConfig
from eqmail_core.smtpd.server.connection_counts import ProcessCounters, SharedCounters
from eqmail_core.smtpd.server.greylist_database import GreylistDatabase, check_greylist
from eqmail_core.smtpd.server.message_receiver import QueueClient

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from eqmail_core.dns.mx import Search

Found = TypeVar("Found")

# Maximum delay of a log line: one write per line would be a large part of the work for a message.
_LOG_DELAY_S = 0.01

# How long wrong passwords count, in seconds.
_FAILURES_S = 600


# The service is nearly full when less than an eighth of all sessions is free.  Then the timeout for client input is at
# most one minute, and the time without a transaction a tenth.
_FREE_PART = 8
_FULL_TIMEOUT_S = 60
_FULL_IDLE_PART = 10


class SessionHandle(Protocol):
    """A session; see `AsyncSmtpSession`."""

    seen: int

    def idle_since(self) -> int:
        """The time when it was last in a transaction, or was greeted."""

    def time_out(self) -> None:
        """Handle the timeout of the client or a child."""

    def close_when_idle(self) -> None:
        """End the session unless it is processing something."""


class ServerContext:
    """State shared by all sessions of a process."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: ServerConfig,
        queue_client: QueueClient,
        recipient_lookup: RecipientLookup | None = None,
        counters: ProcessCounters | None = None,
    ) -> None:
        self.loop = loop
        self.config = settings
        self.queue = queue_client
        self.recipient_lookup = recipient_lookup or NoRecipientLookup(loop)
        self.counts = counters or SharedCounters().counters_of()
        self.counts.begin()
        self._resolver: AsyncResolver | None = None
        self._greylist: tuple[GreylistDatabase, ThreadPoolExecutor] | None = None
        self._dns: set[asyncio.Task[Any]] = set()
        self.sessions: set[SessionHandle] = set()
        self.checkers = ChildSlots(settings.limits.checkers)
        self.plugins = ChildSlots(settings.limits.plugins)
        self.queue_programs = ChildSlots(settings.limits.queue_programs, _half(settings.limits.queue_programs))
        self.now = int(time.monotonic())
        self.is_closing = False
        self._date = (0, b"")
        self._lines: list[bytes] = []
        self._budget = LineBudget()

    @property
    def is_full(self) -> bool:
        """Whether the processes of the service have reached their common session limit."""
        return self.counts.total >= self.config.limit

    def enter(self, session: SessionHandle, ip: bytes) -> bytes:
        """Register a session of this address; return the refusal line, or b"" if it is admitted.

        A session is counted before the limits are checked, so that they are never exceeded.
        """
        if self.is_closing:
            return reply.SHUTTING_DOWN
        counts, limits, ip = self.counts, self.config.limits, client_network(ip)
        counts.enter(ip)
        refusal = b""
        if counts.total > self.config.limit:
            refusal = reply.BUSY
        elif 0 < limits.sessions < counts.sessions_of(ip):
            refusal = reply.BUSY_WITH_YOU
        if refusal:
            counts.leave(ip)
        else:
            self.sessions.add(session)
        return refusal

    def leave(self, session: SessionHandle, ip: bytes) -> None:
        """Remove an admitted session of this address."""
        self.sessions.discard(session)
        self.counts.leave(client_network(ip))

    def note_failure(self, ip: bytes) -> None:
        """Count a wrong password from this address."""
        if self.config.limits.login_failures:
            self.counts.note_failure(client_network(ip), self.now, _FAILURES_S)

    def is_guessing_passwords(self, ip: bytes) -> bool:
        """Whether this address sent too many wrong passwords to have more checked now."""
        limit = self.config.limits.login_failures
        return 0 < limit <= self.counts.failures_of(client_network(ip), self.now, _FAILURES_S)

    def ask_dns(self, questions: list[DnsQuestion]) -> "asyncio.Task[list[DnsAnswer]]":
        """Query the DNS; the task returns the answers, and is cancelled when the service ends."""
        return self._dns_task(self._known_resolver().answers(questions, CLIENT_TIMEOUT_S))

    def run_search(self, search: "Search[Any]") -> "asyncio.Task[Any]":
        """Run a search in the DNS; the task returns what it found, see `ask_dns`."""
        return self._dns_task(run_search(self._known_resolver(), search, SEARCH_S))

    def _known_resolver(self) -> AsyncResolver:
        if self._resolver is None:
            self._resolver = AsyncResolver(*self.config.name_servers, CLIENT_TIMEOUT_S)
        return self._resolver

    def _dns_task(self, work: "Coroutine[Any, Any, Found]") -> "asyncio.Task[Found]":
        task = self.loop.create_task(work)
        self._dns.add(task)
        task.add_done_callback(self._dns.discard)
        return task

    def check_greylist(self, request: CheckGreylist, then: "Callable[[bytes], None]") -> None:
        """Look up a sender in the database, in a thread; `then` gets the answer."""
        if self._greylist is None:
            self._greylist = GreylistDatabase(request.path), ThreadPoolExecutor(1, "greylist")
        database, thread = self._greylist
        looking = self.loop.run_in_executor(thread, check_greylist, database, request)
        looking.add_done_callback(lambda done: None if done.cancelled() else then(done.result()))

    def date(self) -> bytes:
        """Return the current time in the format of a Received line."""
        second = int(time.time())
        if second != self._date[0]:
            self._date = (second, date822(second))
        return self._date[1]

    def challenge(self) -> bytes:
        """Return an unpredictable CRAM-MD5 challenge."""
        number = int.from_bytes(os.urandom(7), "big")
        return b"<%d.%d@%b>" % (number, int(time.time()), self.config.local_name)

    def may_log(self, ip: bytes) -> bool:
        """Whether one more line about this address is written."""
        return self._budget.admits(client_network(ip), self.now)

    def log(self, line: bytes) -> None:
        """Write a line to standard error soon, together with others."""
        if not self._lines:
            self.loop.call_later(_LOG_DELAY_S, self.write_log)
        self._lines.append(line)

    def write_log(self) -> None:
        """Write the pending log lines."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            os.write(2, b"".join(lines))
        except OSError:
            pass

    def sweep(self) -> None:
        """Update the clock and time out sessions; must be called about once a second."""
        self.now = int(time.monotonic())
        timeout_s, idle_s = max(1, self.config.timeout_s), self.config.limits.idle_s
        if self.counts.total >= self.config.limit - self.config.limit // _FREE_PART:
            timeout_s, idle_s = min(timeout_s, _FULL_TIMEOUT_S), max(1, idle_s // _FULL_IDLE_PART) if idle_s else 0
        oldest, idlest = self.now - timeout_s, self.now - idle_s if idle_s else -1
        for session in [each for each in self.sessions if each.seen < oldest or each.idle_since() < idlest]:
            session.time_out()
        number = self._budget.left_out(self.now)
        if number:
            self.log(left_out(number))

    def replace_config(self, settings: ServerConfig) -> None:
        """Use new settings."""
        self.config = settings
        self.checkers.limit, self.plugins.limit = settings.limits.checkers, settings.limits.plugins
        self.queue_programs.limit = settings.limits.queue_programs
        self.queue_programs.per_address = _half(settings.limits.queue_programs)
        self._resolver = None

    def close(self) -> None:
        """End the thread of the greylist and its connection."""
        if self._greylist is not None:
            database, thread = self._greylist
            thread.shutdown()
            database.close()

    def close_when_idle(self) -> None:
        """Accept no more transactions: every session ends as soon as it is processing no message."""
        self.is_closing = True
        for session in list(self.sessions):
            session.close_when_idle()


def _half(limit: int) -> int:
    """What one client may have of a limit for all."""
    return max(1, limit // 2)
