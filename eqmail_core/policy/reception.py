"""Who may do what in an SMTP conversation: every decision that the machine in `protocols.smtp_server` asks for.

A decision is a Verdict at once, or, where a plugin or a password checker has a say, a generator of errands: it yields
what is to be run and is sent how that ended, and its value is the Verdict.  So the same decisions serve a program that
waits for its children and a service that must not.

Source: smtp-server.md 4.2 (order of the checks), 4.6, 4.8 (qmail-smtpd.c, qmail-spp.c).
Long because the checks of a command and what plugins may change about them are one order.
"""

from eqmail_core.formats import smtpplugins as sections
from eqmail_core.formats.received import received
from eqmail_core.protocols.smtp_events import (
    CONNECTED,
    Authentication,
    Connected,
    Data,
    Event,
    Hello,
    Mail,
    Recipient,
    Verdict,
)
from eqmail_core.values import reply
from eqmail_core.values.outcome import Temporary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from eqmail_core.policy.badmail import BadSenders
    from eqmail_core.policy.encryption import Encryption
    from eqmail_core.policy.rcpthosts import RcptHosts
    from eqmail_core.protocols.auth import Credentials
    from eqmail_core.protocols.plugin import PluginReport
    from eqmail_core.protocols.smtp_rules import Rules

    Errands = Generator["RunPlugin | CheckPassword | Pause | AwaitSilence", "PluginReport | int | None", Verdict]
    OwnVerdict = Callable[["Reception", Any, bool, bytes | None], Verdict]
    Hearings = Generator["RunPlugin | CheckPassword | Pause | AwaitSilence", "PluginReport | int | None", "_Heard"]

# Outcomes of CheckPassword that are no exit codes.
CHECKER_CRASHED, NO_CHILD, NO_PIPE, NO_WRITE = -1, -2, -3, -4

_TROUBLE = {
    CHECKER_CRASHED: reply.AUTH_CHILD_TROUBLE,
    NO_CHILD: reply.AUTH_NO_CHILD,
    NO_PIPE: reply.AUTH_NO_PIPE,
    NO_WRITE: reply.AUTH_NO_WRITE,
}

FAILED_AUTH_PAUSE_S = 5.0
"""How long a client waits after wrong credentials."""


class Patience:
    """How clients are made to wait: before the greeting, and at each recipient of a message beyond a number (0: none).

    The variables GREETDELAY, TARPITCOUNT and TARPITDELAY of a client win over these.
    """

    __slots__ = ("greet_s", "tarpit_count", "tarpit_s")

    def __init__(self, greet_s: int = 0, tarpit_count: int = 0, tarpit_s: int = 0) -> None:
        self.greet_s = greet_s
        self.tarpit_count = tarpit_count
        self.tarpit_s = tarpit_s

    def of(self, environ: dict[bytes, bytes]) -> "Patience":
        """How the client of this environment is made to wait; one that may relay is not."""
        if b"RELAYCLIENT" in environ:
            return _NO_WAITING
        if not _WAITING_VARIABLES & environ.keys():
            return self
        own = (environ.get(b"GREETDELAY", b""), environ.get(b"TARPITCOUNT", b""), environ.get(b"TARPITDELAY", b""))
        settled = (self.greet_s, self.tarpit_count, self.tarpit_s)
        return Patience(*[int(text) if text.isdigit() else number for text, number in zip(own, settled, strict=True)])


_NO_WAITING = Patience()
_WAITING_VARIABLES = frozenset((b"GREETDELAY", b"TARPITCOUNT", b"TARPITDELAY"))


class House:
    """The settings by which mail is received, shared by all conversations.

    `plugins` by section; None: no plugins at all.  `says_esmtp`: Received lines tell ESMTP after EHLO.
    `patience`: how clients are made to wait.  `tls_clients`: addresses in client certificates, in
    lower case, whose owners may relay.
    """

    __slots__ = ("bad_senders", "patience", "plugins", "recipient_hosts", "rules", "says_esmtp", "tls_clients")

    def __init__(
        self,
        rules: "Rules",
        recipient_hosts: "RcptHosts",
        bad_senders: "BadSenders",
        plugins: dict[bytes, list[bytes]] | None = None,
        says_esmtp: bool = True,
        tls_clients: "frozenset[bytes]" = frozenset(),
        patience: Patience = _NO_WAITING,
    ) -> None:
        self.rules = rules
        self.recipient_hosts = recipient_hosts
        self.bad_senders = bad_senders
        self.plugins = plugins
        self.says_esmtp = says_esmtp
        self.tls_clients = tls_clients
        self.patience = patience


class RunPlugin:
    """An errand: run a plugin; send back its PluginReport."""

    __slots__ = ("argv", "environ")

    def __init__(self, argv: list[bytes], environ: dict[bytes, bytes]) -> None:
        self.argv = argv
        self.environ = environ


class CheckPassword:
    """An errand: let the checkpassword program judge; send back its exit code, or one of the troubles above."""

    __slots__ = ("credentials", "environ")

    def __init__(self, credentials: "Credentials", environ: dict[bytes, bytes]) -> None:
        self.credentials = credentials
        self.environ = environ


class Pause:
    """An errand: do nothing for a while; send back None."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class AwaitSilence:
    """An errand: listen for a while; send back 1 if the client spoke meanwhile, else 0."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class _Heard:
    """What the plugins of one command said, all taken together."""

    __slots__ = ("accepted", "address", "close", "lines", "own_checks")

    def __init__(self) -> None:
        self.accepted = True
        self.address: bytes | None = None
        self.close = False
        self.lines: list[bytes] = []
        self.own_checks = True

    def refuse(self, *lines: bytes, close: bool = False) -> "_Heard":
        """Refuse the command with these lines."""
        self.accepted = False
        self.lines += lines
        self.close = close
        return self

    def verdict(self) -> Verdict:
        """The refusal, or the acceptance where there is nothing else to be decided."""
        return Verdict(self.accepted, self.lines, close=self.close)


_OK = Verdict(True, [reply.OK])
_NOTHING_TO_SAY = Verdict(True, [])
_BAD_SENDER = Verdict(False, [reply.BAD_SENDER])
_NO_RELAY = Verdict(False, [reply.NO_RELAY])
_NO_CONTROLS = Verdict(False, [reply.NO_CONTROLS], close=True)


class Reception:
    """Decides the events of one conversation.

    `environ` is the conversation's own: it tells who the client is (TCPREMOTEHOST and so on) and whether it may relay
    (RELAYCLIENT), it is what plugins see and change, and what qmail-queue gets.  `date()` is now, as in `date822`.
    """

    __slots__ = (
        "_accepted",
        "_all",
        "_allowed",
        "_date",
        "_deferred",
        "_encryption",
        "_first",
        "_headers",
        "_helo",
        "_house",
        "_is_authenticated",
        "_is_bad_sender",
        "_local",
        "_plugins",
        "_protocol",
        "_remote_host",
        "_remote_info",
        "_vouched_for",
        "environ",
        "remote_ip",
    )

    def __init__(self, house: House, environ: dict[bytes, bytes], date: "Callable[[], bytes]") -> None:
        self._house = house
        self._date = date
        self._plugins = house.plugins
        self._remote_host = environ.get(b"TCPREMOTEHOST", b"unknown")
        self._remote_info = environ.get(b"TCPREMOTEINFO")
        self._local = environ.get(b"TCPLOCALHOST") or environ.get(b"TCPLOCALIP", b"unknown")
        self._helo: bytes | None = None
        self._protocol = b"SMTP"
        self._encryption: Encryption | None = None
        self._vouched_for: bytes | None = None
        self._is_authenticated = False
        self._is_bad_sender = False
        self._allowed = False
        # What TLS brings back: the variables and plugins before the client's first command.
        self._first: tuple[dict[bytes, bytes], dict[bytes, list[bytes]] | None] | None = None
        self.remote_ip = environ.get(b"TCPREMOTEIP", b"unknown")
        self.environ = environ
        self.forget()

    @property
    def remote_host(self) -> bytes:
        """The client's name, as far as known; it counts as its HELO until it gives one."""
        return self._remote_host

    def forget(self) -> None:
        """Forget what plugins left for this transaction."""
        self._headers: list[bytes] = []
        self._deferred: dict[bytes, list[bytes]] = {}
        self._accepted = 0
        self._all = 0

    def secure(self, encryption: "Encryption") -> None:
        """TLS has begun: what the client said before counts no more, nor what that made of its rights."""
        if self._first is not None:
            variables, self._plugins = self._first
            self.environ.clear()
            self.environ.update(variables)
        self._encryption = encryption
        self._remote_info = self.environ.get(b"TCPREMOTEINFO")
        self._helo = None
        self._is_authenticated = self._is_bad_sender = self._allowed = False
        self.forget()

    def decide(self, event: Event) -> "Verdict | Errands":
        """Decide an event of the conversation; the ends of messages and of plain text are not decided here."""
        if self._first is None and event is not CONNECTED and self._house.rules.offers_tls:
            self._first = (dict(self.environ), self._plugins)
        if isinstance(event, Authentication):
            return self._authenticate(event.credentials)
        section, note, verdict = _DECISIONS[type(event)]
        if note is not None:
            try:
                note(self, event)
            except Temporary:
                return _NO_CONTROLS
        pause_s = self._pause_before(event)
        if pause_s:
            return self._patiently(event, section, verdict, pause_s)
        if self._plugins is None or not (self._plugins[section] or self._deferred):
            return verdict(self, event, True, None)
        return self._with_plugins(event, section, verdict)

    # --- waiting

    def _pause_before(self, event: Event) -> int:
        """How long the client has to wait for the answer, in seconds."""
        if event is CONNECTED:
            return self._house.patience.of(self.environ).greet_s if self._encryption is None else 0
        if isinstance(event, Recipient) and (self._house.patience.tarpit_count or b"TARPITCOUNT" in self.environ):
            patience = self._house.patience.of(self.environ)
            return patience.tarpit_s if 0 < patience.tarpit_count < self._all else 0
        return 0

    def _patiently(self, event: Event, section: bytes, verdict: "OwnVerdict", pause_s: int) -> "Errands":
        if event is not CONNECTED:
            yield Pause(pause_s)
        elif (yield AwaitSilence(pause_s)):
            return Verdict(False, [reply.TALKED_EARLY], close=True)
        if self._plugins is None:
            return verdict(self, event, True, None)
        return (yield from self._with_plugins(event, section, verdict))

    # --- what is noted of a command before any plugin is asked

    def _note_hello(self, event: Hello) -> None:
        self.environ[b"SMTPHELOHOST"] = event.name

    def _note_mail(self, event: Mail) -> None:
        if event.identity is not None and self._remote_info is None:
            self._remote_info = self.environ[b"TCPREMOTEINFO"] = event.identity

    def _note_recipient(self, event: Recipient) -> None:
        self._allowed = self._house.recipient_hosts.accepts(event.address)
        self._all += 1

    # --- the house's own verdicts; `address` is what plugins made of the one in the event, None if nothing

    def _connected(self, event: Event, own_checks: bool, address: bytes | None) -> Verdict:
        return _NOTHING_TO_SAY

    def _hello(self, event: Hello, own_checks: bool, address: bytes | None) -> Verdict:
        self._helo = event.name if event.name.lower() != self._remote_host.lower() else None
        self._protocol = b"ESMTP" if event.extended and self._house.says_esmtp else b"SMTP"
        return _NOTHING_TO_SAY

    def _mail(self, event: Mail, own_checks: bool, address: bytes | None) -> Verdict:
        sender = event.address if address is None else address
        self._is_bad_sender = own_checks and self._house.bad_senders.refuses(sender)
        return _OK if address is None else Verdict(True, [reply.OK], address)

    def _recipient(self, event: Recipient, own_checks: bool, address: bytes | None) -> Verdict:
        if self._is_bad_sender:
            return _BAD_SENDER
        appendix = self.environ.get(b"RELAYCLIENT")
        if appendix is None and own_checks and not self._allowed:
            if self._encryption is None:
                return _NO_RELAY
            objection = self._encryption.objection(self._house.tls_clients)
            if objection is not None:
                return Verdict(False, [reply.no_relay_by_certificate(objection)])
            self._vouched_for = self._encryption.email
            self.environ[b"RELAYCLIENT"] = appendix = b""
        self._accepted += 1
        if appendix:
            address = (event.address if address is None else address) + appendix
        return _OK if address is None else Verdict(True, [reply.OK], address)

    def _data(self, event: Event, own_checks: bool, address: bytes | None) -> Verdict:
        header = self._header()
        self.forget()
        return Verdict(True, [], header=header)

    def _header(self) -> bytes:
        trace = received(
            self._remote_host,
            self.remote_ip,
            self._remote_info,
            self._helo,
            self._local,
            self._received_with(),
            self._date(),
        )
        return trace + b"".join([header + b"\n" for header in self._headers])

    def _received_with(self) -> bytes:
        if self._encryption is not None:
            return self._encryption.received_with(self._is_authenticated, self._vouched_for)
        return b"ESMTPA" if self._is_authenticated else self._protocol

    # --- plugins

    def _with_plugins(self, event: Event, section: bytes, verdict: "OwnVerdict") -> "Errands":
        self._publish(event)
        heard = yield from self._hear(section)
        if not heard.accepted:
            return heard.verdict()
        own = verdict(self, event, heard.own_checks, heard.address)
        return Verdict(own.accepted, heard.lines + own.lines, own.address, own.header)

    def _publish(self, event: Event) -> None:
        """Tell plugins about the command, as far as it is not told already."""
        environ = self.environ
        if isinstance(event, Mail):
            environ[b"SMTPMAILFROM"] = event.address
        elif isinstance(event, Recipient):
            environ[b"SMTPRCPTTO"] = event.address
            environ[b"SMTPRCPTCOUNT"] = b"%d" % self._accepted
            environ[b"SMTPRCPTCOUNTALL"] = b"%d" % self._all
            environ[b"SMTPRCPTHOSTSOK"] = b"%d" % self._allowed

    def _hear(self, section: bytes) -> "Hearings":
        """Run the plugins of a section one after the other, as long as they let us."""
        heard = _Heard()
        key = section.upper()
        if key in self._deferred:
            return heard.refuse(*self._deferred[key])
        for plugin in (self._plugins or {}).get(section, ()):
            report = yield RunPlugin(sections.plugin_argv(plugin), self.environ)
            assert report is not None and not isinstance(report, int)
            if report.trouble:
                return heard.refuse(reply.plugin_failure(plugin, report.trouble))
            if self._obey(report, heard, section):
                break
        if heard.accepted and key in self._deferred:
            return heard.refuse(*self._deferred[key])
        return heard

    def _obey(self, report: "PluginReport", heard: _Heard, section: bytes) -> bool:
        """Do what one plugin said; True when no other is to be asked."""
        for letter, text in report.instructions:
            if letter in b"ANO":
                if letter == b"A":
                    self._plugins = None
                heard.own_checks = letter != b"O"
                return True
            if letter in b"ERD":
                lines = [] if letter == b"D" else [text]
                heard.refuse(*lines, close=letter != b"E")
                return True
            if letter == b"H":
                self._headers.append(text)
            elif letter == b"P":
                heard.lines.append(text)
            elif letter == b"L":
                self._deferred.setdefault(text[:1], []).append(text[1:])
            elif letter == b"C" and section in (sections.MAIL, sections.RECIPIENT):
                heard.address = text
                self.environ[b"SMTPMAILFROM" if section == sections.MAIL else b"SMTPRCPTTO"] = text
            elif letter == b"S" and text.find(b"=") > 0:
                name, _, value = text.partition(b"=")
                self.environ[name] = value
            elif letter == b"U":
                self.environ.pop(text, None)
        return False

    # --- authentication

    def _authenticate(self, credentials: "Credentials") -> "Errands":
        outcome = yield CheckPassword(credentials, self.environ)
        if outcome in _TROUBLE:
            return Verdict(False, [_TROUBLE[outcome]])
        if outcome != 0:
            yield Pause(FAILED_AUTH_PAUSE_S)
            return Verdict(False, [reply.AUTH_FAILED])
        lines: list[bytes] = []
        if self._plugins is not None:
            self.environ[b"SMTPAUTHMETHOD"] = credentials.method
            self.environ[b"SMTPAUTHUSER"] = credentials.user
            heard = yield from self._hear(sections.AUTH)
            if not heard.accepted:
                return heard.verdict()
            lines = heard.lines
        self._is_authenticated = True
        self._remote_info = self.environ[b"TCPREMOTEINFO"] = credentials.user
        self.environ[b"RELAYCLIENT"] = b""
        return Verdict(True, [*lines, reply.authenticated(credentials.user)])


_DECISIONS: "dict[type[Event], tuple[bytes, Callable[[Reception, Any], None] | None, OwnVerdict]]" = {
    Connected: (sections.CONNECTION, None, Reception._connected),
    Hello: (sections.HELO, Reception._note_hello, Reception._hello),
    Mail: (sections.MAIL, Reception._note_mail, Reception._mail),
    Recipient: (sections.RECIPIENT, Reception._note_recipient, Reception._recipient),
    Data: (sections.DATA, None, Reception._data),
}
