"""What the SMTP server answers to a recipient: asked of the server's own session, policy and settings.

A conversation is held with them without a network: greeting, EHLO, AUTH for a login, MAIL, RCPT. What would take time,
run foreign programs or ask others is left out unless the caller asks for it, and named.

Fails: EqmailError where the settings cannot be read.
"""

import base64
import os
from collections.abc import Iterable
from typing import NamedTuple

from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import ControlError
from eqmail_core.dns.query import NO_ANSWER
from eqmail_core.mail.dates import date822
from eqmail_core.outcome import DONE
from eqmail_core.site.site import Site
from eqmail_core.smtpd.policy.decisions import SmtpPolicy
from eqmail_core.smtpd.policy.greylisting import PASSED
from eqmail_core.smtpd.policy.plugin_protocol import PluginResult
from eqmail_core.smtpd.policy.requests import (
    AwaitEarlyTalker,
    CheckGreylist,
    CheckPassword,
    Delay,
    LookupRecipient,
    QueryDns,
    Request,
    RunPlugin,
)
from eqmail_core.smtpd.protocol import replies
from eqmail_core.smtpd.protocol.events import STARTTLS, Decision, Recipient, SmtpEvent
from eqmail_core.smtpd.protocol.session import ServerProtocol
from eqmail_core.smtpd.server.blocking_recipient_lookup import look_up
from eqmail_core.smtpd.server.config import SessionConfig, session_config
from eqmail_core.smtpd.server.service_settings import read_settings
from eqmail_core.system.installation import read_controls
from eqmail_core.text.listen_address import TRANSFER, ListenerRole, parse_listen_address
from eqmail_core.tls.session_info import TlsSessionInfo
from eqmail_setup.errors import EqmailError
from eqmail_setup.mail.routing import route_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.smtpd.policy.requests import PendingDecision, RequestResult

SOMEBODY = "198.51.100.77"
"""An unassigned address (RFC 5737), for an unknown client."""


class Client(NamedTuple):
    """Who sends: address, the port it connects to, login ("" for none), envelope sender, and whether by TLS."""

    ip: str = SOMEBODY
    port: int = 25
    login: str = ""
    sender: str = ""
    is_tls: bool = False


class SmtpVerdict(NamedTuple):
    """The server's reply to the first command that it refuses, else to RCPT.

    `setting`: the control file that decided, "" where none did. `left_out`: what was not asked, such as plugins.
    """

    accepted: bool
    reply: str
    setting: str = ""
    left_out: tuple[str, ...] = ()


# The control file behind a reply; the enhanced status may stand before or behind the text.
_SETTINGS = {
    replies.NO_RELAY: Controls.rcpthosts.file,
    replies.NO_MAILBOX: Controls.rcptcheck.file,
    replies.MAILBOX_AWAY: Controls.rcptcheck.file,
    replies.BAD_SENDER: Controls.badmailfrom.file,
}
# The words of that reply, wherever its status stands.
_NOT_YOUR_SENDER = replies.NOT_YOUR_SENDER[4:].rpartition(b" (")[0]
_REFUSED_CLIENT = "the connection is closed without a reply"


def ask_smtp_server(site: Site, recipient: bytes, client: Client, environ: dict[bytes, bytes]) -> SmtpVerdict:
    """Hold the conversation; `environ`: variables of the service, such as TLSREQUIRED."""
    try:
        settings = read_settings(site, environ, [client.port], lambda what: None)
        role = _role_of(site, client.port)
        session = session_config(settings, (client.ip, 0), ("127.0.0.1", client.port), role.needs_login)
    except (ControlError, OSError) as error:
        raise EqmailError(f"the SMTP server cannot start: {error}") from error
    refusal = session.refusal
    if refusal is None:
        return SmtpVerdict(False, _REFUSED_CLIENT, Controls.tcprules_cdb.file)
    if refusal:
        return SmtpVerdict(False, _text(refusal))
    conversation = _Conversation(site, session, client._replace(is_tls=client.is_tls or role.is_tls))
    verdict = conversation.hold(recipient)
    if settings.filters is not None:
        verdict = verdict._replace(left_out=(*verdict.left_out, "filters of the whole message"))
    return verdict


def may_submit(site: Site, client: Client) -> bool:
    """Whether a client may send mail to any domain, by a login or by its address."""
    if client.login:
        return True
    try:
        settings = read_settings(site, {}, [client.port], lambda what: None)
        return session_config(settings, (client.ip, 0), ("127.0.0.1", client.port)).client.may_relay
    except (ControlError, OSError) as error:
        raise EqmailError(f"the SMTP server cannot start: {error}") from error


def _role_of(site: Site, port: int) -> ListenerRole:
    """The role of the listener on a port (control/smtplisten)."""
    entries = read_controls(site).smtplisten or ()
    addresses = (parse_listen_address(os.fsdecode(entry)) for entry in entries)
    return next((found.role for found in addresses if found is not None and found.port == port), TRANSFER)


class _Conversation:
    """One session of the server, whose client is played."""

    def __init__(self, site: Site, session: SessionConfig, client: Client) -> None:
        self._site = site
        self._client = client
        self._rules = rules = session.policy.rules
        self._policy = SmtpPolicy(session.policy, session.client, lambda: date822(0))
        self._protocol = ServerProtocol(rules, session.client.remote_host, lambda: b"<0@explain>")
        self._left_out: list[str] = []
        self._last: Decision | None = None

    def hold(self, recipient: bytes) -> SmtpVerdict:
        protocol = self._protocol
        self._decide(protocol.begin())
        protocol.take_output()
        is_tls = self._client.is_tls or (bool(self._client.login) and self._rules.auth_needs_tls)
        if is_tls:
            protocol.tls_started()
            self._policy.tls_started(TlsSessionInfo(b"TLSv1.3", b"TLS_AES_256_GCM_SHA384"))
        reply = b""
        for command in self._commands(recipient):
            if protocol.closed:
                break
            reply = self._say(command)
            if reply[:1] not in (b"2", b"3"):
                return self._verdict(False, reply, command)
        return self._verdict(not protocol.closed, reply, b"")

    def _commands(self, recipient: bytes) -> Iterable[bytes]:
        yield b"EHLO explain.invalid"
        if self._client.login:
            yield b"AUTH PLAIN " + base64.b64encode(b"\0" + os.fsencode(self._client.login) + b"\0password")
        sender = os.fsencode(self._client.sender)
        is_utf8 = not (sender + recipient).isascii() and self._rules.offers_utf8
        yield b"MAIL FROM:<%b>%b" % (sender, b" SMTPUTF8" if is_utf8 else b"")
        yield b"RCPT TO:<%b>" % recipient

    def _say(self, command: bytes) -> bytes:
        """Send one command; the last line of the reply."""
        protocol = self._protocol
        protocol.receive(command + b"\r\n")
        while (event := protocol.next_event()) is not None:
            if event is STARTTLS:
                break
            if event.needs_decision:
                self._decide(event)
        lines = protocol.take_output().split(b"\r\n")
        return lines[-2] if len(lines) > 1 else b""

    def _decide(self, event: SmtpEvent) -> None:
        decision = self._policy.decide(event)
        verdict = decision if isinstance(decision, Decision) else self._run(decision)
        self._last = verdict if isinstance(event, Recipient) else self._last
        self._protocol.answer(verdict)

    def _run(self, requests: "PendingDecision") -> Decision:
        result: RequestResult = None
        while True:
            try:
                request = requests.send(result)
            except StopIteration as end:
                decision: Decision = end.value
                return decision
            result = self._answer(request)

    def _answer(self, request: Request) -> "RequestResult":
        if isinstance(request, LookupRecipient):
            return self._look_up(request.recipient)
        if isinstance(request, QueryDns):
            if not request.ahead:
                self._leave_out("lists in the DNS (dnsbl)")
            return [] if request.ahead else [NO_ANSWER] * len(request.questions)
        if isinstance(request, RunPlugin):
            self._leave_out(f"the plugin {os.fsdecode(request.argv[0])}")
            return PluginResult([])
        if isinstance(request, CheckPassword):
            return 0
        if isinstance(request, CheckGreylist):
            self._leave_out(f"greylisting ({Controls.greylistdelay.file})")
            return PASSED
        if isinstance(request, (AwaitEarlyTalker, Delay)):
            return 0 if isinstance(request, AwaitEarlyTalker) else None
        raise TypeError(f"a request of another kind: {type(request).__name__}")

    def _look_up(self, recipient: bytes) -> bytes:
        """Ask as the server would; without services, or the right to ask them, look as they would."""
        answer = look_up(self._site.socket("lookup"), recipient)
        if answer:
            return answer
        found = route_address(self._site, recipient, is_routed=True)
        if found.cannot_look:
            self._leave_out(f"the recipient itself: {found.cannot_look}")
            return DONE
        return found.lookup_outcome.encode()

    def _leave_out(self, what: str) -> None:
        if what not in self._left_out:
            self._left_out.append(what)

    def _verdict(self, accepted: bool, reply: bytes, command: bytes) -> SmtpVerdict:
        last = self._last.lines[-1] if self._last is not None and self._last.lines else b""
        setting = _SETTINGS.get(last, "") if not accepted else ""
        if last.startswith(replies.NO_RELAY[:40]):
            setting = Controls.rcpthosts.file
        if command.startswith(b"AUTH "):
            setting = "smtpauth"
        if command.startswith(b"MAIL ") and _NOT_YOUR_SENDER in reply:
            setting = Controls.senderlogin.file
        return SmtpVerdict(accepted, _text(reply), setting, tuple(self._left_out))


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").strip()
