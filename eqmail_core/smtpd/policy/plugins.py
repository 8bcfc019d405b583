"""Run the plugins for the commands of one session, and apply their instructions.

Source: smtp-server.md 4.8 (qmail-spp.c).
"""

from eqmail_core.smtpd.policy import plugin_sections as sections
from eqmail_core.smtpd.policy.plugin_protocol import PluginResult
from eqmail_core.smtpd.policy.requests import RunPlugin
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import Decision

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from eqmail_core.smtpd.policy.authority import ClientAuthority
    from eqmail_core.smtpd.policy.requests import Request, RequestResult

    PluginDecisions = Generator[Request, RequestResult, "PluginVerdict"]

_ADDRESS_VARIABLES = {sections.MAIL: b"SMTPMAILFROM", sections.RECIPIENT: b"SMTPRCPTTO"}


class PluginVerdict:
    """The combined verdict of all plugins of one command.

    `address`: their replacement of the current address, None if none; `own_checks`: the server's own checks still
    apply.
    """

    __slots__ = ("accepted", "address", "close", "lines", "own_checks")

    def __init__(self) -> None:
        self.accepted = True
        self.address: bytes | None = None
        self.close = False
        self.lines: list[bytes] = []
        self.own_checks = True

    def refuse(self, *lines: bytes, close: bool = False) -> "PluginVerdict":
        """Refuse the command with these lines."""
        self.accepted = False
        self.lines += lines
        self.close = close
        return self

    def verdict(self) -> Decision:
        """Return the refusal, or the acceptance if nothing else remains to be decided."""
        return Decision(self.accepted, self.lines, close=self.close)


class PluginSession:
    """The plugins of one session.

    `plugins`: by section; None: there are none, or a plugin disabled all.  `headers`: fields they add to the message.
    Plugins see the environment of `client`, and set its variables.
    """

    __slots__ = ("_client", "_deferred", "headers", "plugins")

    def __init__(self, plugins: dict[bytes, list[bytes]] | None, client: "ClientAuthority") -> None:
        self._client = client
        self.plugins = plugins
        self.reset()

    def reset(self) -> None:
        """Discard the headers and errors kept for this transaction."""
        self.headers: list[bytes] = []
        self._deferred: dict[bytes, list[bytes]] = {}

    def applies_to(self, section: bytes) -> bool:
        """Whether plugins or kept errors exist for a command of this section."""
        return self.plugins is not None and bool(self.plugins[section] or self._deferred)

    def run(self, section: bytes) -> "PluginDecisions":
        """Run the plugins of a section in turn, as long as they accept."""
        verdict = PluginVerdict()
        key = section.upper()
        if key in self._deferred:
            return verdict.refuse(*self._deferred[key])
        for plugin in (self.plugins or {}).get(section, ()):
            report = yield RunPlugin(sections.plugin_argv(plugin), self._client.environ())
            assert isinstance(report, PluginResult)
            if report.problem:
                return verdict.refuse(reply.plugin_failure(plugin, report.problem))
            if self._apply(report, verdict, section):
                # A final instruction applies to this command, whatever errors were kept for it.
                return verdict
        if verdict.accepted and key in self._deferred:
            return verdict.refuse(*self._deferred[key])
        return verdict

    def _apply(self, report: "PluginResult", verdict: PluginVerdict, section: bytes) -> bool:
        """Apply the instructions of one plugin; return True if no other plugin may run."""
        client = self._client
        for letter, text in report.instructions:
            if letter in b"ANO":
                if letter == b"A":
                    self.plugins = None
                verdict.own_checks = letter != b"O"
                return True
            if letter in b"ERD":
                lines = [] if letter == b"D" else [text]
                verdict.refuse(*lines, close=letter != b"E")
                return True
            if letter == b"H":
                self.headers.append(text)
            elif letter == b"P":
                verdict.lines.append(text)
            elif letter == b"L":
                self._deferred.setdefault(text[:1], []).append(text[1:])
            elif letter == b"C" and section in _ADDRESS_VARIABLES:
                verdict.address = text
                client.set_variable(_ADDRESS_VARIABLES[section], text)
            elif letter == b"S" and text.find(b"=") > 0:
                name, _, value = text.partition(b"=")
                client.set_variable(name, value)
            elif letter == b"U":
                client.unset_variable(text)
        return False
