"""What plugins say about the commands of one conversation, and how it is obeyed.

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

    from eqmail_core.smtpd.policy.requests import Request, RequestResult

    PluginDecisions = Generator[Request, RequestResult, "PluginVerdict"]

_ADDRESS_VARIABLES = {sections.MAIL: b"SMTPMAILFROM", sections.RECIPIENT: b"SMTPRCPTTO"}


class PluginVerdict:
    """What the plugins of one command said, all taken together.

    `address` is what they made of the one in hand, None if nothing; `own_checks`: the house still has a say.
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
        """The refusal, or the acceptance where there is nothing else to be decided."""
        return Decision(self.accepted, self.lines, close=self.close)


class PluginSession:
    """The plugins of one conversation.

    `plugins` by section; None: there are none, or one of them has sent the others home.  `headers` are what they add to
    the message.  `environ` is the conversation's, which they see and change.
    """

    __slots__ = ("_deferred", "_environ", "headers", "plugins")

    def __init__(self, plugins: dict[bytes, list[bytes]] | None, environ: dict[bytes, bytes]) -> None:
        self._environ = environ
        self.plugins = plugins
        self.reset()

    def reset(self) -> None:
        """Forget what was left for this transaction."""
        self.headers: list[bytes] = []
        self._deferred: dict[bytes, list[bytes]] = {}

    def applies_to(self, section: bytes) -> bool:
        """Tell whether anybody is to be asked about a command of this section."""
        return self.plugins is not None and bool(self.plugins[section] or self._deferred)

    def run(self, section: bytes) -> "PluginDecisions":
        """Run the plugins of a section one after the other, as long as they let us."""
        verdict = PluginVerdict()
        key = section.upper()
        if key in self._deferred:
            return verdict.refuse(*self._deferred[key])
        for plugin in (self.plugins or {}).get(section, ()):
            report = yield RunPlugin(sections.plugin_argv(plugin), self._environ)
            assert isinstance(report, PluginResult)
            if report.problem:
                return verdict.refuse(reply.plugin_failure(plugin, report.problem))
            if self._apply(report, verdict, section):
                # Its last word is about this command, whatever was left for it meanwhile.
                return verdict
        if verdict.accepted and key in self._deferred:
            return verdict.refuse(*self._deferred[key])
        return verdict

    def _apply(self, report: "PluginResult", verdict: PluginVerdict, section: bytes) -> bool:
        """Do what one plugin said; True when no other is to be asked."""
        environ = self._environ
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
                verdict.address = environ[_ADDRESS_VARIABLES[section]] = text
            elif letter == b"S" and text.find(b"=") > 0:
                name, _, value = text.partition(b"=")
                environ[name] = value
            elif letter == b"U":
                environ.pop(text, None)
        return False
