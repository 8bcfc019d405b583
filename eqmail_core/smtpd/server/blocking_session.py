"""One SMTP session on two descriptors.

It blocks on the client, on children and on qmail-queue.  For a process that serves one client.  Light: no event loop.

Source: smtp-server.md 4.1, 4.2, 4.5 (qmail-smtpd.c).
"""

import time

from eqmail_core.dsn.parameters import render_dsn
from eqmail_core.queue.client.blocking import open_queue
from eqmail_core.smtpd.policy.log_budget import LineBudget
from eqmail_core.smtpd.policy.message_checks import MessageChecks
from eqmail_core.smtpd.policy.outcome import BAD_NEWLINES, FINAL_REPLIES, READ_FAILED, TIMED_OUT, conclude, tls_failed
from eqmail_core.smtpd.policy.session_log import SmtpLog
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import BROKEN, DATA, RESET, STARTTLS, BodyKind, Decision, SmtpEvent
from eqmail_core.smtpd.protocol.session import ServerProtocol
from eqmail_core.smtpd.server.blocking_requests import BlockingRequestRunner
from eqmail_core.system.log import write_stderr
from eqmail_core.system.timed_stream import ConnectionLost, TimedOut, TimedStream
from eqmail_core.tls.session_info import TlsHandshakeError, TlsUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.queue.client.blocking import ProgramQueue, ServiceQueue
    from eqmail_core.site.site import Site
    from eqmail_core.smtpd.policy.policy import SmtpPolicy
    from eqmail_core.tls.session_info import ServerTlsFiles


class BlockingSmtpSession:
    """One client, from the greeting to the end of the session.

    `checker`: argv of the checkpassword program.  Messages are queued with the environment of `policy`.
    `tls`: the key files, if any; `begins_with_tls`: TLS before the greeting.
    `idle_s`: maximum time without a transaction; 0: no limit.
    """

    def __init__(
        self,
        site: "Site",
        core: ServerProtocol,
        policy: "SmtpPolicy",
        client: TimedStream,
        checker: list[bytes],
        tls: "ServerTlsFiles | None" = None,
        begins_with_tls: bool = False,
        idle_s: int = 0,
    ) -> None:
        self._idle_s = idle_s
        self._idle_since = 0.0
        self._site = site
        self._core = core
        self._policy = policy
        self._client = client
        self._runner = BlockingRequestRunner(
            site.socket("lookup"), checker, self._flush, lambda seconds: self._client.speaks_within(seconds)
        )
        self._tls = tls
        self._begins_with_tls = begins_with_tls
        self._checks = MessageChecks(0)
        budget = LineBudget()
        self._log = SmtpLog(core, policy, lambda ip: budget.admits(ip, int(time.monotonic())), write_stderr)
        self._queue: ProgramQueue | ServiceQueue | None = None

    def run(self, databytes: int) -> int:
        """Run the session and return the exit code.  `databytes` limits each message; 0: no limit."""
        self._checks = MessageChecks(databytes)
        core = self._core
        try:
            if self._begins_with_tls and not self._starts_tls():
                self._log.note_refusals()
                self._client.write(core.take_output())
                return 1
            self._decide(core.begin())
            self._idle_since = time.monotonic()
            while True:
                while (event := core.next_event()) is not None:
                    if event is BROKEN:
                        return self._connection_broken()
                    self._handle(event)
                self._log.note_refusals()
                self._client.write(core.take_output())
                if core.closed:
                    self._client.close()
                    self._abort_message()
                    if core.closing_reply in FINAL_REPLIES:
                        self._log.note(FINAL_REPLIES[core.closing_reply])
                    return 0
                if core.has_more:
                    core.begin_turn()
                else:
                    self._client.deadline = self._silence_ends()
                    core.receive(self._client.read())
        except TimedOut:
            self._log.note(TIMED_OUT)
            self._send_closing_reply(reply.TIMEOUT)
        except TlsHandshakeError as failure:
            self._log.note(tls_failed(failure))
            self._send_closing_reply(reply.tls_failed(str(failure).encode()))
        except ConnectionLost as gone:
            if gone.reading:
                self._log.note(READ_FAILED)
        self._abort_message()
        return 1

    def _silence_ends(self) -> float | None:
        """Return the deadline for the next transaction; None if there is no limit."""
        core = self._core
        if core.in_transaction or core.in_body:
            self._idle_since = time.monotonic()
            return None
        return self._idle_since + self._idle_s if self._idle_s else None

    def _handle(self, event: SmtpEvent) -> None:
        if isinstance(event, BodyKind):
            self._take(event)
            self._idle_since = time.monotonic()
        elif event is RESET:
            self._policy.reset()
            self._abort_message()
        elif event is STARTTLS:
            self._starts_tls()
        else:
            self._decide(event)

    def _decide(self, event: SmtpEvent) -> None:
        if event.restarts:
            self._abort_message()
        decision = self._policy.decide(event)
        verdict = decision if isinstance(decision, Decision) else self._runner.run(decision)
        if event is DATA and verdict.accepted:
            verdict = self._begin(verdict)
        self._core.answer(verdict)
        if verdict.note:
            self._log.note(verdict.note)

    def _begin(self, verdict: Decision) -> Decision:
        """Begin a message with the header of this decision.

        The result refuses it if no queue is available.
        """
        try:
            self._queue = open_queue(self._site, self._policy.environ)
        except OSError:
            return Decision(False, [*verdict.lines, reply.NO_QUEUE])
        self._queue.write(verdict.header)
        self._checks.begin()
        return verdict

    def _starts_tls(self) -> bool:
        """Begin TLS, or log why it fails.  Fails: TlsHandshakeError, TimedOut, ConnectionLost."""
        core = self._core
        try:
            if self._tls is None:
                raise TlsUnavailable("missing certificate")
            # Imported here: few clients of a program need it, and every process would pay for it.
            from eqmail_core.tls.timed_stream import TlsTimedStream

            secure = TlsTimedStream(self._client, self._tls, self._log.note)
        except TlsUnavailable as trouble:
            core.answer(Decision(False, [reply.tls_problem(str(trouble).encode())]))
            return False
        if not self._begins_with_tls:
            core.answer(Decision(True, [reply.READY_FOR_TLS]))
            self._client.write(core.take_output())
        tls_session = secure.shake()
        self._client = secure
        core.tls_started()
        self._policy.tls_started(tls_session)
        return True

    def _flush(self) -> None:
        self._client.write(self._core.take_output())

    def _take(self, body: BodyKind) -> None:
        assert self._queue is not None
        self._checks.receive(body.text)
        if self._checks.is_refused:
            self._queue.abort()
        else:
            self._queue.write(body.text)
        if body.is_last:
            queue, self._queue = self._queue, None
            core = self._core
            code = queue.finish(core.sender or b"", core.recipients, render_dsn(core.dsn))
            line, what = conclude(self._checks, code, int(time.time()), queue.qp)
            self._log.note(what)
            self._core.answer(Decision(True, [line]))

    def _abort_message(self) -> None:
        """Discard the incomplete message already passed to the queue."""
        if self._queue is not None:
            queue, self._queue = self._queue, None
            queue.abort()
            queue.finish(b"", [])

    def _connection_broken(self) -> int:
        """Reply to a bare newline and end the session; the incomplete message is discarded."""
        self._log.note(BAD_NEWLINES)
        self._abort_message()
        try:
            self._client.write(self._core.take_output())
        except (TimedOut, ConnectionLost):
            pass
        return 1

    def _send_closing_reply(self, line: bytes) -> None:
        self._core.close(line)
        try:
            self._client.write(self._core.take_output())
        except (TimedOut, ConnectionLost):
            pass
