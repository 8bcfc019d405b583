"""One SMTP session on two descriptors.

It blocks on the client, on children and on qmail-queue.  For a process that serves one client.  Light: no event loop.

Source: smtp-server.md 4.1, 4.2, 4.5 (qmail-smtpd.c).
"""

import os
import time

from eqmail_core.auth.secrets_file import FILE as SECRETS
from eqmail_core.mail.dates import date822
from eqmail_core.smtpd.policy.author_check import checks_of
from eqmail_core.smtpd.policy.decisions import SmtpPolicy
from eqmail_core.smtpd.policy.log_budget import LineBudget
from eqmail_core.smtpd.policy.outcome import BAD_NEWLINES, FINAL_REPLIES, READ_FAILED, TIMED_OUT, tls_failed
from eqmail_core.smtpd.policy.session_log import SmtpLog
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import BROKEN, DATA, RESET, STARTTLS, BodyPiece, Decision, SmtpEvent
from eqmail_core.smtpd.protocol.session import ServerProtocol
from eqmail_core.smtpd.server.blocking_receiver import BlockingReceiver
from eqmail_core.smtpd.server.blocking_requests import BlockingRequestRunner
from eqmail_core.system.log import write_stderr
from eqmail_core.system.timed_stream import ConnectionLost, TimedOut, TimedStream
from eqmail_core.tls.session_info import TlsHandshakeError, TlsUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from eqmail_core.filters.chain import FilterConfig
    from eqmail_core.site.site import Site
    from eqmail_core.smtpd.policy.authority import ClientAuthority
    from eqmail_core.smtpd.policy.config import PolicyConfig
    from eqmail_core.smtpd.policy.decisions import Policy
    from eqmail_core.smtpd.server.blocking_receiver import BlockingReceiverPort
    from eqmail_core.tls.session_info import ServerTlsFiles


class BlockingSmtpSession:
    """One client, from the greeting to the end of the session.

    `client`: who it is and what it may do; `stream`: its bytes; `checker`: argv of the checkpassword program.
    `tls`: the key files, if any; `begins_with_tls`: TLS before the greeting.
    `idle_s`: maximum time without a transaction; 0: no limit.  `filters`: of every message, if any.
    """

    def __init__(
        self,
        site: "Site",
        config: "PolicyConfig",
        client: "ClientAuthority",
        stream: TimedStream,
        checker: list[bytes],
        tls: "ServerTlsFiles | None" = None,
        begins_with_tls: bool = False,
        idle_s: int = 0,
        filters: "FilterConfig | None" = None,
    ) -> None:
        self._idle_s = idle_s
        self._idle_since = 0.0
        self._core = core = ServerProtocol(config.rules, client.remote_host, _challenge(client.local_name))
        self._stream = stream
        self._runner = BlockingRequestRunner(
            site.socket("lookup"),
            checker,
            self._flush,
            lambda seconds: self._stream.speaks_within(seconds),
            f"{site.users}/{SECRETS}",
        )
        self._tls = tls
        self._begins_with_tls = begins_with_tls
        budget = LineBudget()
        self._log = SmtpLog(
            core, client, config.logs_all, lambda ip: budget.admits(ip, int(time.monotonic())), write_stderr
        )
        self._policy: Policy
        self._message: BlockingReceiverPort
        own = SmtpPolicy(config, client, _date)
        if filters is None and config.auth_check is None:
            self._policy, self._message = own, BlockingReceiver(site, client, checks_of(config, client))
        else:
            # Imported here: few servers have filters, and every process would pay for it.
            from eqmail_core.smtpd.server.filtered_blocking_receiver import receive_filtered

            self._policy, self._message = receive_filtered(site, client, own, config, filters, self._runner)

    def run(self) -> int:
        """Run the session and return the exit code."""
        try:
            return self._run()
        finally:
            self._message.close()
            self._runner.close()

    def _run(self) -> int:
        core = self._core
        try:
            if self._begins_with_tls and not self._starts_tls():
                self._log.note_refusals()
                self._stream.write(core.take_output())
                return 1
            self._decide(core.begin())
            self._idle_since = time.monotonic()
            while True:
                while (event := core.next_event()) is not None:
                    if event is BROKEN:
                        self._log.note(BAD_NEWLINES)
                        self._send_output()
                        return 1
                    self._handle(event)
                self._log.note_refusals()
                self._stream.write(core.take_output())
                if core.closed:
                    self._stream.close()
                    self._message.discard()
                    if core.closing_reply in FINAL_REPLIES:
                        self._log.note(FINAL_REPLIES[core.closing_reply])
                    return 0
                if core.has_more:
                    core.begin_turn()
                else:
                    self._stream.deadline = self._silence_ends()
                    core.receive(self._stream.read())
        except TimedOut:
            self._log.note(TIMED_OUT)
            self._send_closing_reply(reply.TIMEOUT)
        except TlsHandshakeError as failure:
            self._log.note(tls_failed(failure))
            self._send_closing_reply(reply.tls_failed(str(failure).encode()))
        except ConnectionLost as gone:
            if gone.reading:
                self._log.note(READ_FAILED)
        return 1

    def _silence_ends(self) -> float | None:
        """Return the deadline for the next transaction; None if there is no limit."""
        core = self._core
        if core.in_transaction or core.in_body:
            self._idle_since = time.monotonic()
            return None
        return self._idle_since + self._idle_s if self._idle_s else None

    def _handle(self, event: SmtpEvent) -> None:
        if isinstance(event, BodyPiece):
            self._take(event)
            self._idle_since = time.monotonic()
        elif event is RESET:
            self._policy.reset()
            self._message.discard()
        elif event is STARTTLS:
            self._starts_tls()
        else:
            self._decide(event)

    def _decide(self, event: SmtpEvent) -> None:
        if event.restarts:
            self._message.discard()
        decision = self._policy.decide(event)
        verdict = decision if isinstance(decision, Decision) else self._runner.run(decision)
        if event is DATA and verdict.accepted:
            refusal = self._message.begin(verdict.header)
            if refusal:
                verdict = Decision(False, [*verdict.lines, refusal])
        self._core.answer(verdict)
        if verdict.note:
            self._log.note(verdict.note)

    def _starts_tls(self) -> bool:
        """Begin TLS, or log why it fails.  Fails: TlsHandshakeError, TimedOut, ConnectionLost."""
        core = self._core
        try:
            if self._tls is None:
                raise TlsUnavailable("missing certificate")
            # Imported here: few clients of a program need it, and every process would pay for it.
            from eqmail_core.tls.timed_stream import TlsTimedStream

            secure = TlsTimedStream(self._stream, self._tls, self._log.note)
        except TlsUnavailable as trouble:
            core.answer(Decision(False, [reply.tls_problem(str(trouble).encode())]))
            return False
        if not self._begins_with_tls:
            core.answer(Decision(True, [reply.READY_FOR_TLS]))
            self._stream.write(core.take_output())
        tls_session = secure.shake()
        self._stream = secure
        core.tls_started(secure.end_point)
        self._policy.tls_started(tls_session)
        return True

    def _flush(self) -> None:
        self._stream.write(self._core.take_output())

    def _take(self, body: BodyPiece) -> None:
        self._message.take(body.text)
        if body.is_last:
            core = self._core
            line, what = self._message.finish(core.sender or b"", core.recipients, core.dsn)
            self._log.note(what)
            core.answer(Decision(True, line.split(b"\r\n"), close=line.startswith(b"421")))

    def _send_closing_reply(self, line: bytes) -> None:
        self._core.close(line)
        self._send_output()

    def _send_output(self) -> None:
        """Send what is left to send, if the client still takes it."""
        try:
            self._flush()
        except (TimedOut, ConnectionLost):
            pass


def _challenge(name: bytes) -> "Callable[[], bytes]":
    return lambda: b"<%d.%d@%b>" % (int.from_bytes(os.urandom(7), "big"), int(time.time()), name)


def _date() -> bytes:
    return date822(time.time())
