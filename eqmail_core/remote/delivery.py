"""Remote deliveries on the event loop, with the plan and client machine of qmail-remote.

A connection that carried an accepted message is kept for a short time, for the next message to the same server.  If it
fails before the message was given, a new one is made, and nothing is reported.

Fails: never; every error is a report.  A cancelled delivery leaves no connection behind.
Source: delivery.md 5.6; queue.md 3.11.
"""

import asyncio
import os
import random
import time
from functools import partial

from eqmail_core.auth.client import ClientCredentials
from eqmail_core.control.remote_limits import limit_of
from eqmail_core.dns.mx import MxCandidate
from eqmail_core.dns.resolver import AsyncResolver
from eqmail_core.dsn.parameters import parse_dsn
from eqmail_core.ipc.delivery_protocol import DeliveryRequest
from eqmail_core.outcome import DSN_RELAYED, PERMANENT, TEMPORARY, DeliveryResult, Failure
from eqmail_core.remote.plan import Attempts, PlanEnvironment, RemotePlan, needs_utf8, plan_delivery
from eqmail_core.remote.report import report_of_output
from eqmail_core.remote.settings import RemoteSettings, SettingsSource
from eqmail_core.remote.signature_cache import SignatureCache
from eqmail_core.remote.signing import is_forward
from eqmail_core.remote.substitute import run_substitute
from eqmail_core.remote.tcpto import TcptoCache
from eqmail_core.remote.tls_policy import choose_policy, may_go_plain, policy_for
from eqmail_core.site.site import Site
from eqmail_core.smtp.async_client import ClientConnection, ConnectionTimer
from eqmail_core.smtp.client import SmtpClient
from eqmail_core.smtp.connect import literal_address
from eqmail_core.smtp.connection_cache import ConnectionCache
from eqmail_core.smtp.exchange import TRY_NEXT
from eqmail_core.spawn.protocol import LEASE_IS_OVER
from eqmail_core.spawn.request_check import rejection
from eqmail_core.system.files import CHUNK
from eqmail_core.system.lease_file import LeaseFile
from eqmail_core.system.message_file import MessageFile, MessageUnreadable
from eqmail_core.system.own_addresses import own_addresses
from eqmail_core.system.repeated_lines import say_seldom
from eqmail_core.text.error_text import error_text
from eqmail_core.tls.client_policy import IMPLICIT_TLS_PORT, PLAIN, TlsPolicy
from eqmail_core.tls.policy import UnusableServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from eqmail_core.dns.mx import Search
    from eqmail_core.smtp.client_tls import ClientTls

    Found = TypeVar("Found")

NAME = "remote"
MAX_IDLE = 256
MAX_PER_CONNECTION = 100
OWN_ADDRESSES_S = 30.0


class _Job:
    """One delivery: settings, request, plan and failures.

    One connection carries at most `limit` messages.
    """

    __slots__ = ("attempts", "dsn", "limit", "message", "order", "plan", "settings", "signatures")

    def __init__(
        self, settings: RemoteSettings, order: DeliveryRequest, message: int, plan: RemotePlan, limit: int
    ) -> None:
        self.settings = settings
        self.order = order
        self.message = message
        self.plan = plan
        self.limit = limit
        self.signatures = b""
        self.attempts = Attempts()
        self.dsn = parse_dsn(order.dsn)
        if self.dsn is not None and self.dsn.is_utf8:
            self.dsn.is_utf8 = needs_utf8(plan, MessageFile(message).chunks())


class RemoteDeliveries:
    """State shared by all deliveries: settings, resolver, idle connections, tcpto table.

    `owner`: the uid that messages must belong to.
    """

    def __init__(
        self,
        site: Site,
        source: SettingsSource,
        resolver: AsyncResolver,
        tcpto: TcptoCache,
        timer: ConnectionTimer,
        owner: int,
        implicit_tls_port: int = IMPLICIT_TLS_PORT,
    ) -> None:
        self._site = site
        self._lease = LeaseFile(site.queue.lease)
        self.source = source
        self.resolver = resolver
        self.idle = ConnectionCache(MAX_IDLE)
        self._tcpto = tcpto
        self._timer = timer
        self._owner = owner
        self._implicit_tls_port = implicit_tls_port
        self._signatures = SignatureCache(site.control)
        self._own: frozenset[str] = frozenset()
        self._own_until = 0.0
        self._environment = PlanEnvironment(literal_address, self._own_addresses, random.shuffle)

    async def deliver(self, order: DeliveryRequest, message: int) -> DeliveryResult:
        """Deliver the message behind the descriptor `message` to one recipient."""
        problem = rejection(order.recipient, message, self._owner)
        if problem is not None:
            return problem
        if not self._lease.lasts(order.epoch):
            return LEASE_IS_OVER
        try:
            settings = self.source.current()
            if settings.substitute:
                dsn = parse_dsn(order.dsn)
                if dsn is not None and dsn.requires_tls:
                    return DeliveryResult(
                        PERMANENT, b"The program in place of qmail-remote knows no REQUIRETLS. (#5.7.30)\n"
                    )
                return await run_substitute(settings.substitute, order, message)
            client = await self._send(settings, order, message)
            result = report_of_output(client.report)
            if client.next_hop_sends_dsn:
                result.disposition = DSN_RELAYED
            return result
        except Failure as failure:
            return DeliveryResult(failure.outcome, failure.text + b"\n")
        except MemoryError:
            return DeliveryResult(TEMPORARY, b"Out of memory. (#4.3.0)\n")
        except MessageUnreadable:
            return DeliveryResult(TEMPORARY, b"Unable to read message. (#4.3.0)\n")
        except OSError:
            return DeliveryResult(TEMPORARY, b"System resources temporarily unavailable. (#4.3.0)\n")

    async def _send(self, settings: RemoteSettings, order: DeliveryRequest, message: int) -> SmtpClient:
        host = order.recipient.rpartition(b"@")[2]
        self.resolver.set_trust(settings.dnssec)
        sender = order.sender
        if settings.return_paths is not None:
            sender = settings.return_paths.leaving(sender, lambda: is_forward(MessageFile(message)))
        search = plan_delivery(host, sender, [order.recipient], settings.routes, self._environment, settings.own_names)
        plan = await self._answered(search, settings.search_s)
        limit = limit_of(settings.limits, host.lower()).messages
        job = _Job(settings, order, message, plan, limit or MAX_PER_CONNECTION)
        job.signatures = await self._signatures.signatures(settings.origin, order.number, message)
        until = self._timer.loop.time() + settings.addresses_s
        for candidate in plan.candidates:
            client = await self._try_candidate(job, candidate)
            if client is not None and client.status != TRY_NEXT:
                return client
            if client is not None:
                job.attempts.record_refusal(client)
            if self._timer.loop.time() >= until:
                break
        raise job.attempts.failure

    async def _answered(self, search: "Search[Found]", within_s: float) -> "Found":
        """Run a search to its end, within a time limit."""
        until = self._timer.loop.time() + within_s
        try:
            questions = next(search)
            while True:
                left_s = max(0.0, until - self._timer.loop.time())
                questions = search.send(await self.resolver.answers(questions, left_s))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # StopIteration is not generic

    async def _try_candidate(self, job: _Job, candidate: MxCandidate) -> SmtpClient | None:
        """Offer the message to one address; None if there is no server.

        With the status TRY_NEXT the server accepts nothing now, otherwise there is a report.
        """
        route = job.plan.route
        tls = await self._policy(job, candidate)
        if isinstance(tls, UnusableServer):
            job.attempts.record_unusable(candidate, route.port, tls)
            return None
        key = (candidate.ip, route.port, route.user, route.password, tls.key(candidate.name))
        session = self.idle.take(key)
        if session is not None:
            await self._send_over(session, key, job)
            if not session.client.may_retry:
                return session.client
        if self._tcpto.should_skip(candidate.ip, job.order.serial):
            job.attempts.record_skipped(candidate, route.port)
            return None
        client = await self._try_new_connection(job, candidate, tls, key)
        if client and may_go_plain(client, tls, job.settings.tls_falls_back, route.user is not None):
            reason = client.report[1:].partition(b"\n")[0].decode("latin-1")
            say_seldom(NAME, f"warning: {reason} Trying without TLS.")
            client = await self._try_new_connection(job, candidate, PLAIN, None)
        return client

    async def _policy(self, job: _Job, candidate: MxCandidate) -> TlsPolicy | UnusableServer:
        """Return how TLS must protect the way to a server."""
        files = policy_for(self._site, candidate.name, job.plan.route.port == self._implicit_tls_port)
        requires_tls = job.dsn is not None and job.dsn.requires_tls
        search = choose_policy(files, candidate, job.plan, requires_tls, None, lambda: MessageFile(job.message).head)
        return await self._answered(search, job.settings.search_s)

    async def _try_new_connection(
        self, job: _Job, candidate: MxCandidate, tls: TlsPolicy, key: object
    ) -> SmtpClient | None:
        """Offer the message on a new connection, to be kept under `key`.

        None if there is no connection.
        """
        settings, route = job.settings, job.plan.route
        credentials = None if route.user is None else ClientCredentials(route.user, route.password)
        keep = settings.reuse_s > 0 and key is not None
        client = SmtpClient(candidate.ip.encode(), settings.hello, credentials, keep, tls)

        def secure() -> "ClientTls | None":
            return settings.tls.open(client, candidate.name, tls, (candidate.ip, route.port))

        session = ClientConnection(self._timer, candidate.ip, client, secure)
        try:
            error = await session.dial(route.port, settings.connect_s, settings.sources)
        except asyncio.CancelledError:
            session.close()
            raise
        if error:
            self._tcpto.record_failure(candidate.ip, error)
            job.attempts.record_failed(candidate, route.port, error_text(error))
            return None
        self._tcpto.record_success(candidate.ip)
        await self._send_over(session, key, job)
        return client

    async def _send_over(self, session: ClientConnection, key: object, job: _Job) -> None:
        """Send the message over one session, and keep the session if it can be reused."""
        position = 0
        signatures = job.signatures

        def read() -> bytes:
            nonlocal position, signatures
            if signatures:
                piece, signatures = signatures, b""
                return piece
            piece = os.pread(job.message, CHUNK, position)
            position += len(piece)
            return piece

        if session.carried + 1 >= job.limit:
            session.client.keep = False
        try:
            plan, timeout_s = job.plan, job.settings.timeout_s
            await session.send_message(
                plan.sender, plan.recipients, read, timeout_s, job.dsn, partial(self._lease.lasts, job.order.epoch)
            )
        except asyncio.CancelledError:
            session.close()
            raise
        if session.is_open:
            self.idle.put(key, session, self._timer.loop.time() + job.settings.reuse_s)

    def _own_addresses(self) -> frozenset[str]:
        if time.monotonic() >= self._own_until:
            self._own = own_addresses()
            self._own_until = time.monotonic() + OWN_ADDRESSES_S
        return self._own
