"""SMTP sessions of a resident service: many at a time on one event loop, without blocking.

A regular sweep over the sessions handles all timeouts.

Source: smtp-server.md 4; docs/INTERNALS.md.
Long because one session's bytes, flow control and order of answers belong together.
"""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, cast

from eqmail_core.access.client_network import client_network
from eqmail_core.queue.client.async_program import QueuePrograms
from eqmail_core.smtpd.policy.author_check import checks_of
from eqmail_core.smtpd.policy.decisions import SmtpPolicy
from eqmail_core.smtpd.policy.outcome import (
    BAD_NEWLINES,
    DENIED,
    FINAL_REPLIES,
    NO_PROXY_HEADER,
    READ_FAILED,
    TIMED_OUT,
    log_line,
    tls_failed,
)
from eqmail_core.smtpd.policy.session_log import SmtpLog
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import BROKEN, DATA, RESET, STARTTLS, BodyPiece, Decision, SmtpEvent
from eqmail_core.smtpd.protocol.proxy_header import ProxyEndpoints
from eqmail_core.smtpd.protocol.session import ServerProtocol
from eqmail_core.smtpd.server.async_requests import AsyncRequestRunner
from eqmail_core.smtpd.server.config import NOWHERE, SessionConfig, session_config
from eqmail_core.smtpd.server.context import ServerContext
from eqmail_core.smtpd.server.filtered_receiver import receive_filtered
from eqmail_core.smtpd.server.message_receiver import (
    MessageReceiver,
    MessageReceiverProtocol,
    QueueClient,
    submitter_of,
)
from eqmail_core.smtpd.server.proxy_protocol import ProxyHeaderReader
from eqmail_core.text.listen_address import TRANSFER, ListenerRole
from eqmail_core.tls.server import ServerTls
from eqmail_core.tls.session_info import TlsHandshakeError, TlsUnavailable

if TYPE_CHECKING:
    from eqmail_core.smtpd.policy.decisions import Policy

_UNREAD_BYTES = 65536

# Reasons why reading from a client is paused.
_BY_CLIENT, _BY_QUEUE, _BY_VERDICT, _BY_TURN = 1, 2, 4, 8


class AsyncSmtpSession(asyncio.Protocol):
    """One client of the service; `role`: the one of its listener.

    `is_proxied`: a proxy brought it; `ends`: the addresses that the proxy stated, if any.
    """

    __slots__ = (
        "_config",
        "_context",
        "_core",
        "_ends",
        "_has_eof",
        "_has_failed",
        "_holds",
        "_idle_since",
        "_is_proxied",
        "_log",
        "_message",
        "_pending_decision",
        "_policy",
        "_role",
        "_tls",
        "_transport",
        "seen",
    )

    def __init__(
        self,
        context: ServerContext,
        role: ListenerRole = TRANSFER,
        is_proxied: bool = False,
        ends: ProxyEndpoints | None = None,
    ) -> None:
        self._context = context
        self._role = role
        self._ends = ends
        self._is_proxied = is_proxied
        self._tls: ServerTls | None = None
        self._pending_decision: AsyncRequestRunner | None = None
        self._has_eof = False
        self._has_failed = False
        self._holds = 0
        self.seen = self._idle_since = context.now

    # --- event loop interface

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the client, or refuse it when a limit is reached."""
        self._transport = cast(asyncio.Transport, transport)
        config = self._arrive(transport)
        if config is not None:
            self._configure(config)

    def _arrive(self, transport: asyncio.BaseTransport) -> SessionConfig | None:
        """Return the settings for this client; None where a PROXY header comes first."""
        settings = self._context.config
        local = transport.get_extra_info("sockname") or NOWHERE
        peer = transport.get_extra_info("peername") or NOWHERE
        if not self._is_proxied and settings.proxies.includes(peer[0].encode()):
            line = log_line(NO_PROXY_HEADER, None, peer[0].encode(), None, None)
            ProxyHeaderReader(self._context.loop, self._for_proxied, partial(self._context.log, line)).begin(
                self._transport
            )
            return None
        if self._ends is not None:
            peer, local = self._ends.remote, (self._ends.local[0], local[1])
        return session_config(settings, peer, local, self._role.needs_login)

    def _configure(self, config: SessionConfig) -> None:
        context, policy_config, client = self._context, config.policy, config.client
        self._config = config
        queue = client.queue_program
        queue_client: QueueClient = context.queue
        if queue is not None:
            address = client_network(client.remote_ip)
            queue_client = QueuePrograms(context.loop, queue, client.queue_environ, context.queue_programs, address)
        filters = context.config.filters
        own = SmtpPolicy(policy_config, client, context.date)
        self._policy: Policy = own
        if filters is None and policy_config.auth_check is None:
            checks = checks_of(policy_config, client)
            self._message: MessageReceiverProtocol = MessageReceiver(queue_client, checks, submitter_of(config))
        else:
            self._policy, self._message = receive_filtered(context, self, own, config, filters, queue_client)
        self._core = ServerProtocol(policy_config.rules, client.remote_host, context.challenge)
        self._log = SmtpLog(self._core, client, policy_config.logs_all, context.may_log, self._write_log)
        if config.refusal is None:
            self._log.note(DENIED)
            self._transport.close()
            return
        refusal = config.refusal or self._enter()
        if refusal:
            self._core.close(refusal)
            self._flush()
            return
        if self._role.is_tls:
            self._start_tls()
        else:
            self._decide(self._core.begin())
        self._run()

    def _enter(self) -> bytes:
        """Register the session; return the refusal line, if any."""
        return self._context.enter(self, self.remote_ip)

    def data_received(self, data: bytes) -> None:
        """Process input of the client."""
        core = self._core
        self.seen = self._context.now
        if self._tls is not None:
            data = self._unwrap(self._tls, data)
        core.receive(data)
        if core.awaited is not None:
            if core.unread > _UNREAD_BYTES:
                self._hold(_BY_VERDICT)
            return
        if not self._holds & _BY_TURN:
            self._run()

    def eof_received(self) -> bool:
        """Handle the end of input; a message that is being queued still gets its reply."""
        self._has_eof = True
        return self._core.awaited is not None or self._holds & (_BY_CLIENT | _BY_TURN) != 0

    def pause_writing(self) -> None:
        """Stop reading and processing input while the client does not read its replies."""
        self._hold(_BY_CLIENT)

    def resume_writing(self) -> None:
        """Continue after the client has read its replies."""
        self._release(_BY_CLIENT)
        if not self._holds & _BY_TURN and self._core.awaited is None:
            self._core.begin_turn()
            self._run()

    def connection_lost(self, error: Exception | None) -> None:
        """End the session; an incomplete message is discarded."""
        context = self._context
        if self not in context.sessions:
            return
        context.leave(self, self.remote_ip)
        if not self._core.closed:
            self._has_failed = True
            if not self._message.is_submitted:
                self._log.note(READ_FAILED)
            self._core.closed = True
        self._message.close()
        if self._pending_decision is not None:
            self._pending_decision.cancel()
            self._pending_decision = None

    def _for_proxied(self, ends: ProxyEndpoints | None) -> "AsyncSmtpSession":
        return AsyncSmtpSession(self._context, self._role, is_proxied=True, ends=ends)

    # --- interface for ServerContext

    def idle_since(self) -> int:
        """Return the time when it was last in a transaction, or was greeted."""
        core = self._core
        if core.in_transaction or core.in_body or core.awaited is not None:
            self._idle_since = self._context.now
        return self._idle_since

    def time_out(self) -> None:
        """Handle the timeout of the client or a child."""
        if self._core.closed or self._transport.is_closing():
            self._transport.abort()
        elif self._pending_decision is not None:
            self._pending_decision.kill_child()
        elif self._core.awaited is None and not self._holds & _BY_QUEUE:
            self._fail(TIMED_OUT)
            self._core.close(reply.TIMEOUT)
            self._flush()

    def close_when_idle(self) -> None:
        """End the session unless it is processing something."""
        core = self._core
        if not (core.in_transaction or core.in_body or core.awaited is not None or core.closed):
            core.close(reply.SHUTTING_DOWN)
            self._flush()

    # --- the session

    def _run(self) -> None:
        """Process received input, within the limit of one turn, while the client reads its replies."""
        core = self._core
        while not self._holds & _BY_CLIENT and (event := core.next_event()) is not None:
            if type(event) is BodyPiece:
                self._take(event)
            elif event is STARTTLS:
                self._start_tls()
            elif event.needs_decision:
                self._decide(event)
            elif event is RESET:
                self._idle_since = self._context.now
                self._policy.reset()
                self._forget_message()
            elif event is BROKEN:
                self._fail(BAD_NEWLINES)
                self._forget_message()
        if core.awaited is None:
            if self._context.is_closing:
                self.close_when_idle()
            if self._has_eof and not (core.closed or core.has_more or self._holds & _BY_CLIENT):
                self._fail(READ_FAILED)
                core.closed = True
        self._flush()
        if not core.turn_left and core.has_more:
            self._hold(_BY_TURN)
            self._context.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        """Continue after the other sessions had their turn."""
        if not self._transport.is_closing():
            self._core.begin_turn()
            self._run()
        if not self._core.has_more:
            self._release(_BY_TURN)

    def _flush(self) -> None:
        if self._core.refusals:
            self._log.note_refusals()
        out = self._core.take_output()
        tls = self._tls
        if tls is not None:
            out = b"" if tls.is_shaking else tls.wrap(out)
        if out:
            self._transport.write(out)
        if self._core.closed:
            if tls is not None and not tls.is_shaking:
                self._transport.write(tls.close_notify())
            self._transport.close()
            if self._core.closing_reply in FINAL_REPLIES:
                self._log.note(FINAL_REPLIES[self._core.closing_reply])
                self._core.closing_reply = b""

    # --- TLS

    def _start_tls(self) -> None:
        """Begin TLS, or log why it fails."""
        core, context = self._core, self._config.tls
        try:
            if context is None:
                raise TlsUnavailable("missing certificate")
            tls = context.open()
        except TlsUnavailable as trouble:
            self._has_failed = self._role.is_tls
            core.answer(Decision(False, [reply.tls_problem(str(trouble).encode())], close=self._role.is_tls))
            return
        if not self._role.is_tls:
            core.answer(Decision(True, [reply.READY_FOR_TLS]))
            self._flush()
        self._tls = tls

    def _unwrap(self, tls: ServerTls, data: bytes) -> bytes:
        """Decrypt input of the client; b"" during the handshake."""
        if tls.is_shaking:
            try:
                is_complete = tls.shake(data)
            except TlsHandshakeError as failure:
                self._fail(tls_failed(failure))
                last_words = b"" if self._role.is_tls else reply.tls_failed(str(failure).encode()) + b"\r\n"
                self._transport.write(tls.wrap(b"") + last_words)
                self._core.closed = True
                return b""
            self._transport.write(tls.wrap(b""))
            if not is_complete:
                return b""
            data = b""
            self._core.tls_started(tls.end_point)
            self._policy.tls_started(tls.session_info())
            if self._role.is_tls:
                self._decide(self._core.begin())
        said = tls.receive(data)
        if tls.is_over:
            self._has_eof = True
        return said

    # --- decisions

    def _decide(self, event: SmtpEvent) -> None:
        if event.restarts:
            self._forget_message()
        decision = self._policy.decide(event)
        if isinstance(decision, Decision):
            self._answer(event, decision)
        else:
            self._pending_decision = AsyncRequestRunner(self._context, self, decision, partial(self._decided, event))

    def _decided(self, event: SmtpEvent, verdict: Decision) -> None:
        """Continue after a delayed decision."""
        if self._pending_decision is None:
            return
        self._pending_decision = None
        self.seen = self._context.now
        self._answer(event, verdict)
        self._resume()

    def _answer(self, event: SmtpEvent, verdict: Decision) -> None:
        if event is DATA and verdict.accepted:
            self._message.begin(verdict.header)
        self._core.answer(verdict)
        if verdict.note:
            self._log.note(verdict.note)

    def _resume(self) -> None:
        self._core.begin_turn()
        self._run()
        if self._holds & _BY_VERDICT and self._core.awaited is None:
            self._release(_BY_VERDICT)

    @property
    def remote_ip(self) -> bytes:
        """The address of the client."""
        return self._config.client.remote_ip

    @property
    def checker(self) -> list[bytes]:
        """The argv of its checkpassword program."""
        return self._config.checker

    @property
    def speaks(self) -> bool:
        """Whether the client has sent unprocessed input, or disconnected."""
        return self._core.unread > 0 or self._has_eof

    # --- the message

    def _take(self, body: BodyPiece) -> None:
        if self._message.take(body.text, self._queued, self._queue_ready):
            self._release(_BY_QUEUE)
        else:
            self._hold(_BY_QUEUE)
        if body.is_last:
            core = self._core
            answer = self._message.finish(core.sender or b"", core.recipients, core.dsn, self._queued)
            if answer is not None:
                self._conclude(*answer)

    def _queued(self, code: int, number: int, when: int, qp: int) -> None:
        """Handle the queue's result for a message, perhaps before it is complete."""
        answer = self._message.queued(code, when, qp)
        if answer is not None:
            self._conclude(*answer)
            self._resume()

    def _conclude(self, line: bytes, what: bytes) -> None:
        self.seen = self._idle_since = self._context.now
        self._log.note(what)
        self._core.answer(Decision(True, line.split(b"\r\n"), close=line.startswith(b"421")))

    def _forget_message(self) -> None:
        self._message.discard()
        self._release(_BY_QUEUE)

    def _queue_ready(self) -> None:
        self._release(_BY_QUEUE)

    # --- helpers

    def _hold(self, reason: int) -> None:
        if not self._holds:
            self._transport.pause_reading()
        self._holds |= reason

    def _release(self, reason: int) -> None:
        if self._holds & reason:
            self._holds &= ~reason
            self.seen = self._context.now
            if not self._holds and not self._transport.is_closing():
                self._transport.resume_reading()

    def _fail(self, what: bytes) -> None:
        """Log why the session ends abnormally."""
        self._has_failed = True
        self._log.note(what)

    def _write_log(self, line: bytes) -> None:
        """Log one line."""
        self._context.log(line)
