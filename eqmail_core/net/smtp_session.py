"""SMTP conversations of a resident service: many at a time on one event loop, none of which waits for another.

A message that is short is kept until it is whole and goes to the queue in one packet; a long one passes through, and
its client is held back when the queue is slower.  All timeouts are one sweep over the sessions now and then.

Source: smtp-server.md 4; architecture "the receive path parses a buffer".
Long because one session's flow control, children and submission belong together.
"""

import asyncio
from typing import TYPE_CHECKING, cast

from eqmail_core.formats.proxy_header import Ends
from eqmail_core.net.children import PipeReader, kill, on_end
from eqmail_core.net.proxied import ProxiedClient
from eqmail_core.net.queue_children import QueuePrograms
from eqmail_core.net.server_tls import ServerTls
from eqmail_core.net.smtp_children import (
    checker_not_started,
    checker_outcome,
    plugin_report,
    start_checker,
    start_plugin,
)
from eqmail_core.net.smtp_desk import NOWHERE, Desk, Submission, apply_rule, client_environ
from eqmail_core.policy.encryption import HandshakeFailed, Unusable
from eqmail_core.policy.hops import Intake
from eqmail_core.policy.reception import AwaitSilence, CheckPassword, Pause, Reception, RunPlugin
from eqmail_core.policy.smtp_outcome import (
    BAD_NEWLINES,
    DISMISSALS,
    READ_FAILED,
    TIMED_OUT,
    conclude,
    log_line,
    tls_failed,
)
from eqmail_core.protocols.plugin import Hearing, PluginReport
from eqmail_core.protocols.queue_wire import render_envelope
from eqmail_core.protocols.smtp_events import BROKEN, DATA, RESET, STARTTLS, Body, Event, Verdict
from eqmail_core.protocols.smtp_server import SmtpServer
from eqmail_core.values import queue_result, reply

if TYPE_CHECKING:
    from eqmail_core.policy.reception import Errands

HELD_BYTES = 65536
"""Longest message that is kept in memory until it is whole."""

_UNREAD_BYTES = 65536

# How a checkpassword program ends that has looked at the password (cr.yp.to/checkpwd/interface.html).
WRONG_PASSWORD = 1

# Why a client is not read at the moment.
_BY_CLIENT, _BY_QUEUE, _BY_VERDICT = 1, 2, 4


class SmtpSession(asyncio.Protocol):
    """One client of the service; `begins_with_tls`: TLS comes before the greeting."""

    __slots__ = (
        "_begins_with_tls",
        "_child",
        "_core",
        "_desk",
        "_early_code",
        "_ends",
        "_errands",
        "_event",
        "_has_eof",
        "_held",
        "_held_bytes",
        "_holds",
        "_intake",
        "_is_proxied",
        "_long",
        "_outbox",
        "_reception",
        "_tls",
        "_transport",
        "seen",
    )

    def __init__(self, desk: Desk, begins_with_tls: bool = False, is_proxied: bool = False) -> None:
        self._desk = desk
        self._begins_with_tls = begins_with_tls
        self._ends: Ends | None = None
        self._is_proxied = is_proxied
        self._tls: ServerTls | None = None
        self._outbox = desk.outbox
        self._child = 0
        self._early_code: tuple[int, int, int] | None = None
        self._errands: Errands | None = None
        self._event: Event | None = None
        self._has_eof = False
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._holds = 0
        self._long: Submission | None = None
        self.seen = desk.now

    # --- what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the client, or send it away when there are too many."""
        desk = self._desk
        settings = desk.settings
        self._transport = cast(asyncio.Transport, transport)
        local = transport.get_extra_info("sockname") or NOWHERE
        peer = transport.get_extra_info("peername") or NOWHERE
        if not self._is_proxied and settings.proxies.includes(peer[0].encode()):
            ProxiedClient(desk.loop, self._for_proxied).begin(self._transport)
            return
        if self._ends is not None:
            peer, local = self._ends.remote, (self._ends.local[0], local[1])
        house = settings.houses.get(local[1]) or next(iter(settings.houses.values()))
        self._intake = Intake(house.rules.size_limit)
        environ = client_environ(settings, peer, local)
        verdict = apply_rule(settings, environ)
        self._reception = Reception(house, environ, desk.date)
        self._core = SmtpServer(house.rules, self._reception.remote_host, desk.challenge)
        if b"QMAILQUEUE" in environ:
            self._outbox = QueuePrograms(desk.loop, environ[b"QMAILQUEUE"], environ)
        if len(desk.sessions) >= settings.limit or desk.is_closing:
            self._core.close(reply.SHUTTING_DOWN if desk.is_closing else reply.BUSY)
            self._flush()
            return
        if verdict is None:
            self._transport.close()
            return
        if verdict:
            self._core.close(verdict)
        elif not desk.enter(self, self._reception.remote_ip):
            self._core.close(reply.BUSY_WITH_YOU)
        if self._core.closed:
            self._flush()
            return
        if self._begins_with_tls:
            self._start_tls()
        else:
            self._decide(self._core.begin())
        self._run()

    def data_received(self, data: bytes) -> None:
        """Go on with the conversation."""
        core = self._core
        self.seen = self._desk.now
        if self._tls is not None:
            data = self._unwrap(self._tls, data)
        core.receive(data)
        if core.awaited is not None:
            if core.unread > _UNREAD_BYTES:
                self._hold(_BY_VERDICT)
            return
        self._run()

    def eof_received(self) -> bool:
        """The client says no more; a message that is being queued gets its answer all the same."""
        self._has_eof = True
        return self._core.awaited is not None

    def pause_writing(self) -> None:
        """The client does not read: neither do we."""
        self._hold(_BY_CLIENT)

    def resume_writing(self) -> None:
        """The client reads again."""
        self._release(_BY_CLIENT)

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone; what is not wholly received is forgotten."""
        desk = self._desk
        if self not in desk.sessions:
            return
        desk.leave(self, self._reception.remote_ip)
        if not self._core.closed:
            if not isinstance(self._event, Body):
                self._log(READ_FAILED)
            self._core.closed = True
        if self._long is not None and not isinstance(self._event, Body):
            self._long.abort()
            self._long = None
        if self._errands is not None:
            self._errands.close()
            self._errands = None

    def _for_proxied(self, ends: Ends | None) -> "SmtpSession":
        session = SmtpSession(self._desk, self._begins_with_tls, is_proxied=True)
        session._ends = ends
        return session

    # --- what the desk calls

    def expire(self) -> None:
        """The client, or a child, has taken too long."""
        if self._core.closed or self._transport.is_closing():
            self._transport.abort()
        elif self._child:
            kill(self._child)
        elif self._core.awaited is None and not self._holds & _BY_QUEUE:
            self._log(TIMED_OUT)
            self._core.close(reply.TIMEOUT)
            self._flush()

    def retire(self) -> None:
        """End the session if it has nothing in work."""
        core = self._core
        if not (core.in_transaction or core.in_body or core.awaited is not None or core.closed):
            core.close(reply.SHUTTING_DOWN)
            self._flush()

    # --- the conversation

    def _run(self) -> None:
        core = self._core
        while (event := core.next_event()) is not None:
            if type(event) is Body:
                self._take(event)
            elif event is STARTTLS:
                self._start_tls()
            elif event.needs_verdict:
                self._decide(event)
            elif event is RESET:
                self._reception.forget()
                self._forget_message()
            elif event is BROKEN:
                self._log(BAD_NEWLINES)
                self._forget_message()
        if core.awaited is None:
            if self._desk.is_closing:
                self.retire()
            if self._has_eof and not core.closed:
                self._log(READ_FAILED)
                core.closed = True
        self._flush()

    def _flush(self) -> None:
        out = self._core.take_output()
        tls = self._tls
        if tls is not None:
            out = b"" if tls.is_shaking else tls.wrap(out)
        if out:
            self._transport.write(out)
        if self._core.closed:
            if tls is not None and not tls.is_shaking:
                self._transport.write(tls.farewell())
            self._transport.close()
            if self._core.last_words in DISMISSALS:
                self._log(DISMISSALS[self._core.last_words])
                self._core.last_words = b""

    # --- TLS

    def _start_tls(self) -> None:
        """Begin TLS, or say why not."""
        core, desk = self._core, self._desk.settings.tls
        try:
            if desk is None:
                raise Unusable("missing certificate")
            tls = desk.open()
        except Unusable as trouble:
            core.answer(Verdict(False, [reply.tls_trouble(str(trouble).encode())], close=self._begins_with_tls))
            return
        if not self._begins_with_tls:
            core.answer(Verdict(True, [reply.READY_FOR_TLS]))
            self._flush()
        self._tls = tls

    def _unwrap(self, tls: ServerTls, data: bytes) -> bytes:
        """What the client says under TLS; nothing while the handshake lasts."""
        if tls.is_shaking:
            try:
                is_complete = tls.shake(data)
            except HandshakeFailed as failure:
                self._log(tls_failed(failure))
                last_words = b"" if self._begins_with_tls else reply.tls_failed(str(failure).encode()) + b"\r\n"
                self._transport.write(tls.wrap(b"") + last_words)
                self._core.closed = True
                return b""
            self._transport.write(tls.wrap(b""))
            if not is_complete:
                return b""
            data = b""
            self._core.secure()
            self._reception.secure(tls.encryption())
            if self._begins_with_tls:
                self._decide(self._core.begin())
        said = tls.receive(data)
        if tls.is_over:
            self._has_eof = True
        return said

    def _decide(self, event: Event) -> None:
        decision = self._reception.decide(event)
        if isinstance(decision, Verdict):
            self._answer(event, decision)
        else:
            self._errands, self._event = decision, event
            self._go_on(None)

    def _answer(self, event: Event, verdict: Verdict) -> None:
        if event is DATA and verdict.accepted:
            self._intake.begin()
            self._held = [verdict.header]
            self._held_bytes = len(verdict.header)
        self._core.answer(verdict)

    def _resume(self, event: Event, verdict: Verdict) -> None:
        """Go on after a verdict that took its time."""
        self._event = None
        self.seen = self._desk.now
        self._answer(event, verdict)
        self._run()
        if self._holds & _BY_VERDICT and self._core.awaited is None:
            self._release(_BY_VERDICT)

    # --- the message

    def _take(self, body: Body) -> None:
        text = body.text
        intake = self._intake
        intake.see(text)
        if intake.is_refused:
            self._forget_message()
        elif self._early_code is not None:
            pass  # the queue has refused it already
        elif self._long is not None:
            if not self._long.write(text):
                self._hold(_BY_QUEUE)
        else:
            self._held.append(text)
            self._held_bytes += len(text)
            if self._held_bytes > HELD_BYTES:
                self._long = self._outbox.open_long(self._queued, self._queue_ready)
                self._held, held = [], self._held
                if not self._long.write(b"".join(held)):
                    self._hold(_BY_QUEUE)
        if body.is_last:
            self._submit(body)

    def _submit(self, body: Body) -> None:
        self._event = body
        core = self._core
        if self._early_code is not None:
            self._conclude(*self._early_code)
        elif self._intake.is_refused:
            self._conclude(queue_result.READ_ERROR, 0, 0)
        else:
            envelope = render_envelope(core.sender or b"", core.recipients)
            if self._long is not None:
                self._long.commit(envelope)
            else:
                held, self._held = self._held, []
                self._outbox.submit(envelope, b"".join(held), self._queued)

    def _forget_message(self) -> None:
        self._held = []
        self._early_code = None
        if self._long is not None:
            self._long.abort()
            self._long = None
            self._release(_BY_QUEUE)

    def _queue_ready(self) -> None:
        self._release(_BY_QUEUE)

    def _queued(self, code: int, number: int, when: int, qp: int) -> None:
        """The queue has the message, or has refused it, perhaps before it was whole."""
        self._long = None
        if not isinstance(self._event, Body):
            self._early_code = (code, when, qp)
            return
        self._conclude(code, when, qp)
        self._run()
        if self._holds & _BY_VERDICT and self._core.awaited is None:
            self._release(_BY_VERDICT)

    def _conclude(self, code: int, when: int, qp: int) -> None:
        self._event = self._early_code = None
        self._held = []
        self.seen = self._desk.now
        line, what = conclude(self._intake, code, when, qp)
        self._log(what)
        self._core.answer(Verdict(True, [line]))

    # --- children

    def _go_on(self, outcome: PluginReport | int | None) -> None:
        """Run the next errand of the decision in hand, or decide."""
        errands, event = self._errands, self._event
        if errands is None or event is None:
            return
        try:
            errand = errands.send(outcome)
        except StopIteration as end:
            self._errands = None
            self._desk.loop.call_soon(self._resume, event, end.value)
            return
        self.seen = self._desk.now
        if isinstance(errand, RunPlugin):
            self._run_plugin(errand)
        elif isinstance(errand, CheckPassword):
            self._check_password(errand)
        elif isinstance(errand, AwaitSilence):
            self._desk.loop.call_later(errand.seconds, self._end_silence)
        elif isinstance(errand, Pause):
            self._desk.loop.call_later(errand.seconds, self._go_on, None)

    def _end_silence(self) -> None:
        self._go_on(int(self._core.unread > 0 or self._has_eof))

    def _run_plugin(self, errand: RunPlugin) -> None:
        started = start_plugin(errand.argv, errand.environ)
        if isinstance(started, PluginReport):
            self._desk.loop.call_soon(self._go_on, started)
            return
        self._child, output = started
        hearing = Hearing()

        def hear(data: bytes) -> bool:
            hearing.receive(data)
            if hearing.is_over:
                on_end(self._desk.loop, self._child, ended)
            return not hearing.is_over

        def ended(code: int) -> None:
            self._child = 0
            self._go_on(plugin_report(hearing, code))

        PipeReader(self._desk.loop, output, hear)

    def _check_password(self, errand: CheckPassword) -> None:
        ip = self._reception.remote_ip
        if self._desk.is_guessing(ip):
            self._desk.loop.call_soon(self._go_on, WRONG_PASSWORD)
            return
        pid = start_checker(self._desk.settings.checker, errand.environ, errand.credentials)
        if pid <= 0:
            self._desk.loop.call_soon(self._go_on, checker_not_started(pid))
            return
        self._child = pid

        def ended(code: int) -> None:
            self._child = 0
            outcome = checker_outcome(code)
            if outcome == WRONG_PASSWORD:
                self._desk.note_failure(ip)
            self._go_on(outcome)

        on_end(self._desk.loop, pid, ended)

    # --- small things

    def _hold(self, reason: int) -> None:
        if not self._holds:
            self._transport.pause_reading()
        self._holds |= reason

    def _release(self, reason: int) -> None:
        if self._holds & reason:
            self._holds &= ~reason
            self.seen = self._desk.now
            if not self._holds and not self._transport.is_closing():
                self._transport.resume_reading()

    def _log(self, what: bytes) -> None:
        core = self._core
        self._desk.log(log_line(what, core.sender, self._reception.remote_ip, core.last_address, core.helo))
