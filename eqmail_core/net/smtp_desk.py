"""What the SMTP conversations of a resident service share: settings, the way to the queue, the clock, the log.

Source: smtp-server.md 4.1; control-files.md 2.9.
"""

import asyncio
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from eqmail_core.formats.tcprules import Rule
from eqmail_core.net.queue_link import Done
from eqmail_core.net.server_tls import TlsDesk
from eqmail_core.policy.reception import House
from eqmail_core.policy.relay import RelayClients
from eqmail_core.values import reply
from eqmail_core.values.instant import date822

if TYPE_CHECKING:
    from eqmail_core.net.smtp_session import SmtpSession

# How long a line of the log may wait for others: a write for each would be a good part of the work for a message.
_LOG_DELAY_S = 0.01

# How long wrong passwords count, and of how many addresses.
_FAILURES_S = 600
_MOST_FAILURES = 10_000

_NOBODY = RelayClients(())

NOWHERE = ("unknown", 0)
"""The address of an end of a connection that is not known any more."""


class Submission(Protocol):
    """A message on its way into the queue in pieces; see `queue_link.LongSubmission`."""

    def write(self, chunk: bytes) -> bool:
        """Pass on a piece; False asks for a pause."""

    def commit(self, envelope: bytes) -> None:
        """The message is whole."""

    def abort(self) -> None:
        """Forget the message."""


class Outbox(Protocol):
    """Where messages go; see `queue_link.QueueLink`."""

    def submit(self, envelope: bytes, message: bytes, done: Done) -> None:
        """Queue a message that is whole."""

    def open_long(self, done: Done, on_ready: Callable[[], None]) -> Submission:
        """Begin a message that arrives in pieces."""


class Limits:
    """How much one address may have: sessions at a time, and wrong passwords in a while; 0: any number."""

    __slots__ = ("login_failures", "sessions")

    def __init__(self, sessions: int = 0, login_failures: int = 0) -> None:
        self.sessions = sessions
        self.login_failures = login_failures


class Settings:
    """What new sessions go by; replaced as a whole when settings change.

    `houses` by local port; `environ` is the environment of children; `limit` is the number of sessions at a time; `tls`
    begins TLS, where there are keys; `limits` are those of one address; `rule_for(ip)` is the rule for a client, None
    where there is none, and may raise OSError; `proxies` tell whose connection it is before anything else.
    """

    __slots__ = (
        "checker",
        "environ",
        "houses",
        "limit",
        "limits",
        "local_name",
        "proxies",
        "relay_clients",
        "rule_for",
        "timeout_s",
        "tls",
    )

    def __init__(
        self,
        houses: dict[int, House],
        local_name: bytes,
        environ: dict[bytes, bytes],
        relay_clients: RelayClients,
        checker: list[bytes],
        limit: int,
        timeout_s: int,
        tls: TlsDesk | None = None,
        limits: "Limits | None" = None,
        rule_for: Callable[[bytes], Rule | None] = lambda ip: None,
        proxies: RelayClients = _NOBODY,
    ) -> None:
        self.houses = houses
        self.local_name = local_name
        self.environ = environ
        self.relay_clients = relay_clients
        self.checker = checker
        self.limit = limit
        self.timeout_s = timeout_s
        self.tls = tls
        self.limits = limits or Limits()
        self.rule_for = rule_for
        self.proxies = proxies


class Desk:
    """What all sessions of a process share: settings, the way to the queue, the clock, the log, each other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: Settings, outbox: Outbox) -> None:
        self.loop = loop
        self.settings = settings
        self.outbox = outbox
        self.sessions: set[SmtpSession] = set()
        self._per_address: dict[bytes, int] = {}
        # Wrong passwords by address: how many, and when the first was.
        self._failures: dict[bytes, tuple[int, int]] = {}
        self.now = int(time.monotonic())
        self.is_closing = False
        self._date = (0, b"")
        self._lines: list[bytes] = []

    def enter(self, session: "SmtpSession", ip: bytes) -> bool:
        """Take in a session of this address; False, and nothing done, where it has enough of them."""
        count = self._per_address.get(ip, 0)
        if 0 < self.settings.limits.sessions <= count:
            return False
        self._per_address[ip] = count + 1
        self.sessions.add(session)
        return True

    def leave(self, session: "SmtpSession", ip: bytes) -> None:
        """A session of this address that was taken in is over."""
        self.sessions.discard(session)
        count = self._per_address.get(ip, 1) - 1
        if count:
            self._per_address[ip] = count
        else:
            self._per_address.pop(ip, None)

    def note_failure(self, ip: bytes) -> None:
        """A wrong password came from this address."""
        if not self.settings.limits.login_failures:
            return
        count, since = self._failures.pop(ip, (0, self.now))
        if len(self._failures) >= _MOST_FAILURES:
            del self._failures[next(iter(self._failures))]
        self._failures[ip] = (count + 1, since)

    def is_guessing(self, ip: bytes) -> bool:
        """Tell whether so many wrong passwords came from this address that no other is looked at for now."""
        count, since = self._failures.get(ip, (0, 0))
        if count and self.now - since > _FAILURES_S:
            del self._failures[ip]
            return False
        return 0 < self.settings.limits.login_failures <= count

    def date(self) -> bytes:
        """Now, as in a Received line."""
        second = int(time.time())
        if second != self._date[0]:
            self._date = (second, date822(second))
        return self._date[1]

    def challenge(self) -> bytes:
        """A CRAM-MD5 challenge that nobody can foresee."""
        number = int.from_bytes(os.urandom(7), "big")
        return b"<%d.%d@%b>" % (number, int(time.time()), self.settings.local_name)

    def log(self, line: bytes) -> None:
        """Write a line to standard error soon, together with others."""
        if not self._lines:
            self.loop.call_later(_LOG_DELAY_S, self.write_log)
        self._lines.append(line)

    def write_log(self) -> None:
        """Write what the log waits for."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            os.write(2, b"".join(lines))
        except OSError:
            pass

    def sweep(self) -> None:
        """Look at the clock, and at every session whether its time is over; to be called about once a second."""
        self.now = int(time.monotonic())
        oldest = self.now - max(1, self.settings.timeout_s)
        for session in [session for session in self.sessions if session.seen < oldest]:
            session.expire()

    def retire(self) -> None:
        """Take no more transactions: every session ends as soon as it has no message in work."""
        self.is_closing = True
        for session in list(self.sessions):
            session.retire()


def client_environ(settings: Settings, peer: tuple[str, int], local: tuple[str, int]) -> dict[bytes, bytes]:
    """The environment of one conversation: the service's, and who is at both ends."""
    remote_ip = peer[0].encode()
    environ = {
        **settings.environ,
        b"PROTO": b"TCP",
        b"TCPREMOTEIP": remote_ip,
        b"TCPREMOTEPORT": b"%d" % peer[1],
        b"TCPLOCALIP": local[0].encode(),
        b"TCPLOCALPORT": b"%d" % local[1],
        b"TCPLOCALHOST": settings.local_name,
    }
    if settings.relay_clients.includes(remote_ip):
        environ[b"RELAYCLIENT"] = b""
    return environ


def apply_rule(settings: Settings, environ: dict[bytes, bytes]) -> bytes | None:
    """Give a client the variables of its rule; a line for one that cannot be served, b"": welcome, None: not a word."""
    try:
        rule = settings.rule_for(environ[b"TCPREMOTEIP"])
    except OSError:
        return reply.NO_CONTROLS
    if rule is None:
        return b""
    if rule.denies:
        return None
    environ.update(rule.variables)
    return b""
