"""Server side of one SMTP session; performs no I/O.

It takes bytes cut anywhere, enforces the order of commands, parses addresses, and makes each reply that needs no
decision.  For a decision it returns an event and goes on after `answer`.  The bytes are in `session_streams`, the
commands in `commands`, messages in `data_reader`.

Fails: never on client input; bad input becomes a reply or a BareNewlineEvent.
Source: smtp-server.md 4.2 to 4.6 (qmail-smtpd.c); RFC 5321; RFC 2920 (pipelining); RFC 1870 (SIZE).
"""

from eqmail_core.smtp.data import BareNewline
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.commands import CONSEQUENCES, SmtpCommands
from eqmail_core.smtpd.protocol.events import BROKEN, CONNECTED, AuthEvent, AuthLookup, Decision, SmtpEvent
from eqmail_core.smtpd.protocol.session_streams import TURN


class ServerProtocol(SmtpCommands):
    """One SMTP session; call `next_event` until None, `answer` decisions, send `take_output`.

    If it then `has_more`, call `begin_turn` once the output is sent and other clients were served.
    `awaited`: the event not answered yet.
    """

    __slots__ = ()

    def begin(self) -> SmtpEvent:
        """Return the first event, before any input."""
        self.awaited = CONNECTED
        return CONNECTED

    @property
    def in_body(self) -> bool:
        """Whether the client is sending a message."""
        return self._message.is_open

    def begin_turn(self) -> None:
        """Allow another turn for input already received."""
        self.turn_left = TURN

    @property
    def has_more(self) -> bool:
        """Whether the turn is over and input remains for the next one."""
        if self.turn_left or self.awaited is not None or self.closed:
            return False
        return self.unread > 0 or self._message.wants(0)

    def next_event(self) -> SmtpEvent | None:
        """Return the next event; None while more bytes, an answer or another turn are needed."""
        while self.turn_left and self.awaited is None and not self.closed:
            unread = len(self._buffer) - self._position
            if self._message.wants(unread):
                self.turn_left -= 1
                event = self._next_of_message()
                if event is not None:
                    return event
                continue
            if not unread:
                break
            self.turn_left -= 1
            line = self._next_line()
            if line is None:
                break
            event = self._command(line) if self._exchange is None else self._auth_line(line)
            if event is not None:
                if event.needs_decision:
                    self.awaited = event
                return event
        return None

    def answer(self, verdict: Decision) -> None:
        """Apply the decision on the awaited event."""
        event, self.awaited = self.awaited, None
        if verdict.lines:
            self._flush_reply(*verdict.lines)
            if not (verdict.accepted or verdict.note):
                self._note_refusal(verdict.lines[-1], event.credentials.user if isinstance(event, AuthEvent) else None)
        if verdict.close:
            self.closed = True
            self.closing_reply = verdict.lines[-1] if verdict.lines else b""
        if verdict.address is not None:
            self.last_address = verdict.address
        if verdict.accepted:
            if event is not None:
                CONSEQUENCES[type(event)](self, event, verdict)
        elif type(event) is AuthLookup:
            self._exchange = None

    def _next_of_message(self) -> SmtpEvent | None:
        """Process the next bytes of a message; None for bytes that are discarded."""
        try:
            body, self._position = self._message.take(self._buffer, self._position)
        except BareNewline:
            self.close(self._rules.bare_newline)
            return BROKEN
        if body is not None and body.is_last:
            self.awaited = body
        elif body is not None and body.ends_chunk:
            self._flush_reply(reply.OK)
        return body
